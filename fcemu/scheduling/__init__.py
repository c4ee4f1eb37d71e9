"""Where does an invocation run, when does it end, what does it cost?

scheduler  assigns invocations to instances: events in, actions out
actions    what the scheduler asks its caller to do
placement  policies that choose the instance for an invocation or a session
fleet      a function's instances and their states
sessions   which session lives in which instance
health     when an instance is healthy
billing    the union of the busy intervals of each instance

Nothing here does I/O; time is passed in, in monotonic seconds.
"""
