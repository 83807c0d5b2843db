"""Call web applications in this process, without a port."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from safelight.telemetry.record import PipelineCall
from safelight.telemetry.scope import current_exchange

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"

Message = MutableMapping[str, Any]


def client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def ask(app: Any, path: str = "/", method: str = "GET", **options: Any) -> httpx.Response:
    """Send one request to an ASGI application; an exception becomes a 500, as in a server."""

    async def once() -> httpx.Response:
        async with client(app) as web:
            return await web.request(method, path, **options)

    return asyncio.run(once())


def scope_of(path: str, method: str = "GET", kind: str = "http") -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
    }


async def drive(app: Any, scope: dict[str, Any], *messages: Message) -> list[Message]:
    """Run one ASGI connection with these messages to receive; return the sent messages."""
    waiting, sent = list(messages), list[Message]()

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    serve: Callable[..., Awaitable[None]] = app
    await serve(scope, receive, send)
    return sent


EMPTY_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}


def call_model(instruction_type: str = "make_him_old", error: str = "none", **options: Any) -> None:
    """Add a call to the current request, as the pipeline's probe does."""
    exchange = current_exchange()
    assert exchange is not None
    exchange.add(PipelineCall("Pix", instruction_type, seconds=0.1, error=error, **options))
