"""Make an instance exist.

keeper       the process that starts functions and lets none outlive us
process      a function's process tree, seen from the event loop
port_binding several instances, each on 0.0.0.0:9000
cgroups      which control groups it can have: they freeze it and hold its memory limit
memory       how much it uses, where the kernel does not hold the limit
environment  what a function's process finds around it
debugging    how it is started under a debugger
debugger     what this machine has to debug it with
health       is it checked, and does it pass?
hooks        initializer and pre-stop
identity     which process is it, when pids are used again?
readiness    is its server up, and where?
launcher     how an instance comes to exist, and how it ends
pool         carries out the scheduler's actions; leases slots
"""
