"""Move the bytes.

gateway   the request path: admit, lease, forward or tunnel, record
headers   what is dropped, what is added, both ways
response  what an instance answers: its head, and where its body ends
upstream  one connection to an instance
forward   one HTTP exchange, streamed both ways
tunnel    one WebSocket: handshake, byte splice, deadline
frames    the Close frame at the end of a stream
"""
