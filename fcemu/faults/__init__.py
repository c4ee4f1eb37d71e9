"""What goes wrong on purpose?

actions   what a fault does: one file for each action
rules     which rules happen to a request or to a start
fuse      when a fault happens: after bytes or messages
pace      when bytes go on that a fault slows down
injected  the faults of one invocation
"""
