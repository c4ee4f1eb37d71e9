"""Start processes, and let none of them outlive fcemu.

keeper         the process that starts functions; it runs alone
keeper_client  the front's handle on the keeper
process        a function's process tree, as the event loop sees it
command        another program's command, from its start to its end
port_binding   several instances, each on 0.0.0.0:9000
cgroups        control groups: they freeze an instance and enforce its memory limit
memory         how much memory an instance uses; the limit where the kernel does not enforce it
identity       which process a pid means, although pids are reused
leftovers      what is running, and what a killed front has left
"""
