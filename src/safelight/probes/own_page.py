"""Read the `/metrics` page that an application already has, to keep it visible.

If the application refuses the caller (401, 403), its refusal is the answer: its metrics and
Safelight's are for the same readers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar
from wsgiref.types import WSGIApplication, WSGIEnvironment

from safelight.libraries import Message, Scope
from safelight.metrics.merge import OwnPage, page_of

_REDIRECTS = (301, 302, 307, 308)
_REFUSALS = (401, 403)
App = Callable[..., Awaitable[None]]
Text = TypeVar("Text", str, bytes)


@dataclass(frozen=True, slots=True)
class Refusal(Generic[Text]):
    """The application's answer to a caller who may not read its metrics."""

    status: str
    headers: list[tuple[Text, Text]]
    body: bytes


async def asgi_page(app: App, scope: Scope) -> OwnPage | Refusal[bytes] | None:
    """Return the page of an ASGI application, or None if it has none."""
    page, status = await _get(app, scope)
    if status in _REDIRECTS and not scope["path"].endswith("/"):  # a mounted application
        slashed = {"path": scope["path"] + "/", "raw_path": scope["path"].encode() + b"/"}
        page, _ = await _get(app, {**scope, **slashed})
    return page


async def answer(
    send: Callable[[Message], Awaitable[None]],
    status: int,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _get(app: App, scope: Scope) -> tuple[OwnPage | Refusal[bytes] | None, int]:
    response = _Captured()
    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    try:
        await app({**scope, "method": "GET", "headers": headers}, response.receive, response.send)
    except Exception:  # noqa: BLE001 - the application's page is broken; ours must still be served
        return None, 500
    if response.status in _REFUSALS:
        refusal = Refusal(str(response.status), response.headers, response.body)
        return refusal, response.status
    return page_of(response.status, response.content_type, response.body), response.status


class _Captured:
    """Collects a response instead of sending it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_type = ""
        self.body = b""
        self._asked = False

    async def receive(self) -> Message:
        if self._asked:
            await asyncio.Future()  # the caller stays connected until the application returns
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = [(bytes(k).lower(), bytes(v)) for k, v in message.get("headers", ())]
            self.content_type = dict(self.headers).get(b"content-type", b"").decode("latin-1")
        self.body += message.get("body", b"")


def wsgi_page(app: WSGIApplication, environ: WSGIEnvironment) -> OwnPage | Refusal[str] | None:
    """Return the page of a WSGI application, or None if it has none."""
    page, status = _get_wsgi(app, dict(environ))
    if status in _REDIRECTS and not environ["PATH_INFO"].endswith("/"):
        page, _ = _get_wsgi(app, {**environ, "PATH_INFO": environ["PATH_INFO"] + "/"})
    return page


def _get_wsgi(
    app: WSGIApplication, environ: WSGIEnvironment
) -> tuple[OwnPage | Refusal[str] | None, int]:
    environ.pop("HTTP_ACCEPT_ENCODING", None)
    environ["REQUEST_METHOD"] = "GET"
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: object = None
    ) -> Callable[[bytes], object]:
        started[:] = [(status, headers)]
        return written.append

    try:
        chunks: Iterable[bytes] = app(environ, start_response)
        try:
            written.extend(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
    except Exception:  # noqa: BLE001 - as above
        return None, 500
    status, headers = started[0] if started else ("500", [])
    kinds = {name.lower(): value for name, value in headers}
    code = int(status[:3])
    if code in _REFUSALS:
        return Refusal(status, headers, b"".join(written)), code
    return page_of(code, kinds.get("content-type", ""), b"".join(written)), code
