"""A function that does not want to die: ignores signals, double-forks, calls setsid; writes all its pids to a file.

Its daemons hold its port, too. It listens once all of them have written down who they are.
"""

import os
import signal
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


def note() -> None:
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{os.getpid()}\n")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = os.environ["FC_INSTANCE_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
server = HTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler, bind_and_activate=False)
server.server_bind()
note()
noted, noting = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            note()
            os.close(noting)
            while True:
                time.sleep(1)
        note()
        os._exit(0)
os.close(noting)
os.read(noted, 1)  # to its end: nobody has to note anything any more
server.server_activate()
print("up", flush=True)
server.serve_forever()
