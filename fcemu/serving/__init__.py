"""Run an emulator as a program.

run        start, print what happens, stop at a signal, print the bill
printer    writes records to a stream
signals    what SIGINT, SIGTERM and SIGHUP do
admin      the control plane
reload     updates the emulator when its files change
watching   which file changes matter
refusals   the refused requests, for `fcemu explain`
execution  `fcemu exec`
"""
