"""Which documented failures does a client survive?

scenarios  the failures
trial      what happened in one
trials     runs the client's test once per scenario
"""
