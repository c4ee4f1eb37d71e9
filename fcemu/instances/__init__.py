"""Start, watch and stop instances.

machine      what instances can have on this machine
environment  the command, variables and headers that a function gets
debugging    how a command is started under a debugger
debugger     the debugger and the port that this machine offers
readiness    is the function's server up, and where does it listen?
hooks        calls to initializer and pre-stop
health       health checks of an instance
faulty_start what faults do to a start
launcher     starts and stops one instance
running      an instance that accepts requests
pool         carries out the scheduler's actions; leases slots
"""
