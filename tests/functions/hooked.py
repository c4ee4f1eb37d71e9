"""Keeps a diary of what it was asked, hooks included, in the file DIARY; INITIALIZE says how that hook ends."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        entry = {
            "method": self.command,
            "path": self.path,
            "body": body.decode(),
            "headers": headers,
            "pid": os.getpid(),
        }
        with open(os.environ["DIARY"], "a") as diary:
            diary.write(json.dumps(entry) + "\n")
        status = 200
        if self.path == "/initialize":
            how = os.environ.get("INITIALIZE", "200")
            if how == "never":
                time.sleep(3600)
            status = int(how)
        if self.path == "/pre-stop":
            status = 500
        if self.path == "/sleep":
            time.sleep(3600)
        self.send_response(status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"end")

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler).serve_forever()
