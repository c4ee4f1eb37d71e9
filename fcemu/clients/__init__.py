"""Send what a test wants to send.

client   requests and WebSockets of a test
request  a request as a value
raw      a request sent exactly as it is
tokens   key pairs and tokens
"""
