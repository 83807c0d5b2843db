"""Requests for data: a few of each viewer at a time, and none for a viewer who has left."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.console.answering import failed
from safelight.console.sessions import session_of
from safelight.errors import Overloaded

_AT_ONCE, _MOST = 8, 40  # a browser asks six questions at a time, a proxy more
_RETRY_SECONDS = 5.0
_DATA, _NO_QUESTIONS = "/data/", ("/data/live", "/data/session")


@dataclass(slots=True)
class _Viewer:
    requests: int = 0
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))


class Attended:
    """Wraps an application: eight requests of a viewer run at a time, and 32 wait for their turn.

    So one viewer cannot use all that the console can ask. A viewer is a key and an address: who
    uses another address, or another key, is another one. Belongs to one event loop.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._viewers: dict[tuple[str, str], _Viewer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if not _is_question(scope):
            await self._app(scope, receive, send)
            return
        name, (host, _) = session_of(Request(scope)).name, scope.get("client") or ("", 0)
        viewer = self._viewers.setdefault((name, host), _Viewer())
        if viewer.requests >= _MOST:
            error = Overloaded("You ask for too much at once. Wait.", _RETRY_SECONDS)
            await failed(error)(scope, receive, send)
            return
        viewer.requests += 1
        try:
            leaving = asyncio.create_task(_left(receive))
            await _unless(leaving, self._served(viewer, scope, leaving, send))
        finally:
            viewer.requests -= 1
            if not viewer.requests:
                del self._viewers[name, host]

    async def _served(
        self, viewer: _Viewer, scope: Scope, leaving: "asyncio.Task[None]", send: Send
    ) -> None:
        rest: list[Message] = [{"type": "http.request", "body": b""}]

        async def receive() -> Message:
            if rest:
                return rest.pop()
            await asyncio.wait((leaving,))
            return {"type": "http.disconnect"}

        async with viewer.turn:
            await self._app(scope, receive, send)


def _is_question(scope: Scope) -> bool:
    """Return whether a request reads data, has no body, and ends by itself."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    return scope["path"].startswith(_DATA) and scope["path"] not in _NO_QUESTIONS


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _unless(leaving: "asyncio.Task[None]", work: Coroutine[None, None, None]) -> None:
    """Do the work; end it if the viewer leaves before that."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        leaving.cancel()
