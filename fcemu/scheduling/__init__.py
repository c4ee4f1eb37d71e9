"""Where does an invocation run, when does it end, what does it cost?

scheduler  invocations to instances: events in, actions out
actions    what the scheduler asks its caller to do
fleet      a function's instances and their states
sessions   which session runs in which instance
health     is an instance healthy?
billing    the union of busy intervals per instance

Nothing here does I/O; time is passed in, in monotonic seconds.
"""
