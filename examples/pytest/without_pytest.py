"""The same kit without pytest: in a script, a notebook, or the set-up of another test framework."""

import fcemu

with fcemu.Kit.start("trigger.yaml", timeout=5) as fc:
    answer = fc.request("GET", "/rooms")
    print(fc.url, answer.status, answer.text)
