"""The checks of `fcemu smoke`: whether functions, as served, do what their configuration promises.

endpoints    the addresses at which a function can be reached
checks       plans the checks of a configuration
credentials  adds right or wrong credentials to a request
records      what the journal recorded while the checks ran
prober       carries out one check
run          serves the account and carries out all checks
"""
