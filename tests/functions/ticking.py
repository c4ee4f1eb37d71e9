"""Counts in the background; answers with its count, its version and its instance."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "1"
count = 0


def tick() -> None:
    global count
    while True:
        time.sleep(0.001)
        count += 1


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"count": count, "version": VERSION, "instance": os.environ["FC_INSTANCE_ID"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
tick()
