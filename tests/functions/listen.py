"""Listens where it is told, or exits, or does neither: the ways in which a function fails to start."""

import os
import socket
import sys
import time

how = sys.argv[1]
port = int(os.environ["FC_SERVER_PORT"])
print(f"how: {how}", flush=True)
if how == "exit":
    print("No module named uvicorn", file=sys.stderr, flush=True)
    sys.exit(1)
if how != "never":
    host, _, other = how.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    if other == "free":
        port = 0
    elif other:
        port = int(other)
    listener.bind((host, port))
    listener.listen()
    print(f"listening on {listener.getsockname()[1]}", flush=True)
time.sleep(3600)
