"""How long does fcemu take until it is there? Seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median

from benchmarks import fronts
from benchmarks.machine import Machine


def ready_after_listening(machine: Machine, times: int) -> float:
    """From the moment when the first function listens until `fcemu serve` has written its ready file."""
    seconds = []
    for _ in range(times):
        with fronts.fcemu(machine):
            ready = time.monotonic()
            seconds.append(ready - float((machine.folder / "fcemu" / "listens").read_text()))
    return median(seconds)


def help_takes(machine: Machine, times: int) -> float:
    """`fcemu --help`, from its start to its end, with compiled modules as an installed fcemu has them."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(machine.folder / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = []
    for _ in range(times + 1):
        began = time.monotonic()
        argv = [sys.executable, "-m", "fcemu", "--help"]
        subprocess.run(argv, stdout=subprocess.DEVNULL, env=environment, check=True)
        seconds.append(time.monotonic() - began)
    return median(seconds[1:])
