"""Does a configuration keep its promises?

doors        through which addresses a function can be reached
checks       what is promised, as a list of checks
credentials  requests with right and wrong credentials
prober       carries the checks out
"""
