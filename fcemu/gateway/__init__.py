"""Move the bytes.

connection     a client's connection: transport, queue, pauses
request_reader which requests are in its bytes
request_body   a request's body, as it arrives
gateway        the request path: admit, lease, forward or tunnel, record
failures       the errors of what can go wrong on it
exchange       one request while it is in progress, and how it ended
ongoing        sets of what is going on, which can be waited for
deadlines      one timer for all requests
memory         the caches of the request path
flow           when what is written goes out
headers        what is dropped, what is added, both ways
response       what an instance answers: its head, and where its body ends
upstream       one connection to an instance
forward        one HTTP exchange, streamed both ways
tunnel         one WebSocket: handshake, byte splice, deadline
frames         the Close frame at the end of a stream
faulty_request faults of a request
faulty_answer  faults of an answer
faulty_tunnel  faults of a socket
"""
