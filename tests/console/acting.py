"""A console for operators and viewers, and services that answer as a test wants."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from safelight.serving.http.keys import hashed

OPERATING, OTHER, VIEWING = "sl-operating-key", "sl-other-key", "sl-viewing-key"
KEYS = ",".join(
    f"{name}={hashed(key)}"
    for name, key in (
        ("anna:view+operate+infer", OPERATING),
        ("cleo:operate", OTHER),
        ("ben:view", VIEWING),
    )
)


@contextmanager
def viewer(address: str, key: str) -> Iterator[httpx.Client]:
    """Log in with a key."""
    with httpx.Client(base_url=address, timeout=60) as client:
        client.post("/data/session", content=key).raise_for_status()
        yield client


@contextmanager
def answering(respond: Callable[[BaseHTTPRequestHandler], None], port: int = 0) -> Iterator[str]:
    """Run a server in threads that answers each request with a function, and return its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            respond(self)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def say(handler: BaseHTTPRequestHandler, status: int, content: bytes = b"{}") -> None:
    """Send an answer."""
    handler.send_response(status)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def say_ready(handler: BaseHTTPRequestHandler) -> None:
    """Answer as a service of an older version, which is ready and knows no other route."""
    known = handler.path == "/readyz"
    say(handler, 200 if known else 404, b'{"status": "ready"}' if known else b"no JSON")
