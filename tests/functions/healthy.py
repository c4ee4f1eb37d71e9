"""Answers health checks as the file HEALTH says (a status, or `hang`), and anything else with its instance's id.

A file HEALTH.<instance id> is for that instance alone.
"""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, body = 200, os.environ["FC_INSTANCE_ID"].encode()
        if self.path == "/healthz":
            own = Path(f"{os.environ['HEALTH']}.{os.environ['FC_INSTANCE_ID']}")
            said = (own if own.exists() else Path(os.environ["HEALTH"])).read_text()
            if said == "hang":
                time.sleep(3600)
            status = int(said)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler).serve_forever()
