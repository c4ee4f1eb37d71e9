"""Clients for tests: they send requests, open WebSockets, and issue tokens.

client   sends requests and opens WebSockets for the fixture `fc`
request  a request as a value
raw      sends such a request byte for byte
tokens   key pairs that sign JSON Web Tokens
"""
