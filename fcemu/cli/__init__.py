"""The command line of fcemu.

group        the group of commands, and the console script
options      options that several commands share
serve        `fcemu serve`
execute      `fcemu exec`
smoke        `fcemu smoke`
matrix       `fcemu matrix`
check        `fcemu check`, `fcemu schema`
credentials  `fcemu sign`, `fcemu token`
processes    `fcemu explain`, `fcemu ps`, `fcemu prune`
publish      print results, and write them for JUnit and GitHub Actions

Heavy modules are imported inside the commands that need them, so that `--help` is fast.
"""
