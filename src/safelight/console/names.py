"""The names of the services, for people: their namespaces, as on every page from Prometheus."""

import asyncio
from collections.abc import Callable
from time import monotonic

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer
from safelight.console.gateway import Gateway
from safelight.console.sessions import Session, session_of
from safelight.errors import SafelightError

_ASK_SECONDS, _FRESH_SECONDS, _MISSING_SECONDS = 3.0, 60.0, 5.0
_MOST_CHARACTERS = 80


class Names:
    """The route of the names. A service that does not answer keeps the name that it had."""

    def __init__(self, gateway: Gateway, clock: Callable[[], float] = monotonic) -> None:
        self._gateway = gateway
        self._clock = clock
        self._names: dict[int, str] = {}
        self._due_at: dict[int, float] = {}

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/data/names", self._show)]

    async def _show(self, request: Request) -> Response:
        """Send a name for each service; empty if it never told one."""
        session = session_of(request)
        numbers = range(len(self._gateway.urls))
        await asyncio.gather(*(self._renew(number, session) for number in numbers))
        return answer([self._names.get(number, "") for number in numbers])

    async def _renew(self, number: int, session: Session) -> None:
        now = self._clock()
        if now < self._due_at.get(number, 0.0):
            return
        self._due_at[number] = now + _MISSING_SECONDS  # others need not ask meanwhile
        try:
            asked = ("GET", "/v1/models", b"")
            found = await self._gateway.send(session, number, asked, _ASK_SECONDS)
        except (httpx.RequestError, SafelightError):
            return
        if name := _name_in(found.content):
            self._names[number] = name
            self._due_at[number] = self._clock() + _FRESH_SECONDS


def _name_in(content: object) -> str:
    """Return the namespace, or the model of an older service; empty if there is none."""
    match content:
        case {"data": [{"namespace": str(name)}, *_]} | {"data": [{"id": str(name)}, *_]}:
            return name[:_MOST_CHARACTERS]
    return ""
