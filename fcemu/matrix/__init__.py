"""The chaos matrix of `fcemu matrix`: which documented failures a client survives.

scenarios  the failures, as values
trial      the result of one scenario
runner     runs the client's test once per scenario
"""
