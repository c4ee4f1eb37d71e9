"""Make an instance exist.

keeper       the process that starts functions and lets none outlive us
process      a function's process tree, seen from the event loop
port_binding several instances, each on 0.0.0.0:9000
environment  what a function's process finds around it
hooks        initializer and pre-stop
identity     which process is it, when pids are used again?
readiness    is its server up, and where?
pool         carries out the scheduler's actions; leases slots
"""
