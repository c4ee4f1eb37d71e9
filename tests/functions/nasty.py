"""A function that does not want to die: ignores signals, double-forks, calls setsid; writes all its pids to a file."""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


def note() -> None:
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()}\n")


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
note()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note()
            while True:
                time.sleep(1)
        note()
        os._exit(0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


server = HTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler)
print("up", flush=True)
sys.stdout.flush()
server.serve_forever()
