"""Start processes that do not outlive us.

keeper        the process that starts functions; it runs alone
process       a function's process tree, seen from the event loop
command       another program's command, run until it ends
port_binding  several instances, each on 0.0.0.0:9000
cgroups       control groups: they freeze an instance and hold its memory limit
memory        how much it uses, where the kernel does not hold the limit
identity      which process is it, when pids are used again?
leftovers     what runs, and what a killed front left
"""
