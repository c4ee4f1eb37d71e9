"""What goes wrong on purpose: when, to whom, and how?

rules     which rules apply to a request or to a start
pace      when a fault fires, and how slowly a direction passes
injected  the faults of one invocation
"""
