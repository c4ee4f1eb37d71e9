"""Where does an invocation run, when does it end, what does it cost?

scheduler   invocations to instances: events in, actions out
billing     the union of busy intervals per instance

Nothing here does I/O; time is passed in, in monotonic seconds.
"""
