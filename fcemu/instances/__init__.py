"""Make an instance exist.

machine      what instances can have on this machine
environment  what a function's process finds around it
debugging    how it is started under a debugger
debugger     what this machine has to debug it with
readiness    is its server up, and where?
hooks        initializer and pre-stop
health       is it checked, and does it pass?
launcher     how an instance comes to exist, and how it ends
running      an instance that accepts requests
pool         carries out the scheduler's actions; leases slots
"""
