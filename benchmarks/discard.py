"""A receiver of OTLP that accepts and discards everything: `python -m benchmarks.discard PORT`.

It decodes nothing, as a receiver on another machine would cost nothing here.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._accept(b"ready")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._accept(b"")

    def _accept(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()
