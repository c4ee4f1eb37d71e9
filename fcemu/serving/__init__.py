"""Run an emulator as a program.

run        start, print what happens, stop at a signal, leave a bill
printer    records to a stream
signals    what SIGINT, SIGTERM and SIGHUP mean
admin      the control plane
reload     a changed configuration or changed code
watching   which files are followed
refusals   what `fcemu explain` knows
execution  `fcemu exec`
"""
