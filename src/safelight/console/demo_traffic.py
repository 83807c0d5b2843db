"""A minute of demo traffic, so that a new console has something to show. For demo models only."""

import asyncio
from collections.abc import Sequence

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_json
from safelight.console.sessions import Session, session_of
from safelight.errors import InvalidParameter, Overloaded, ServiceFailed, UnknownService
from safelight.serving.http.scopes import INFER
from safelight.stack.tools.samples import parse_task
from safelight.stack.tools.traffic import Traffic, drive

DEMO = "demo-"  # how the names of the bundled models begin
_PER_SECOND, _SECONDS = 1.0, 60.0
_AT_ONCE = 2  # what a slow machine cannot answer meanwhile is not sent
_ASK_SECONDS, _TIMEOUT_SECONDS = 3.0, 30.0


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: int = Field(ge=0)


class DemoTraffic:
    """The route that sends demo traffic. `urls` has the services. Belongs to one event loop."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._busy: set[str] = set()
        self._sending: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/data/demo", self._show, methods=["GET"]),
            Route("/data/demo", self._begin, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        """Send which services have a demo model; none to viewers who may not send requests."""
        session = session_of(request)
        if INFER not in session.scopes:
            return answer([])
        names = await asyncio.gather(*(_name_of(url, session) for url in self._urls))
        return answer(
            [
                {"service": number, "model": name}
                for number, name in enumerate(names)
                if name.startswith(DEMO)
            ]
        )

    async def _begin(self, request: Request) -> Response:
        session = session_of(request)
        session.require(INFER)
        wanted = await read_json(request, _Wanted)
        if wanted.service >= len(self._urls):
            raise UnknownService(wanted.service, len(self._urls))
        url = self._urls[wanted.service]
        if url in self._busy:
            raise Overloaded("Demo traffic runs already. Wait until it ends.", _SECONDS)
        self._busy.add(url)
        try:
            task = await _demo_task(url, session)
        except BaseException:
            self._busy.discard(url)
            raise
        sending = asyncio.create_task(self._send(url, task, session))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        return answer({"requests": round(_PER_SECOND * _SECONDS), "seconds": _SECONDS})

    async def _send(self, url: str, task: str, session: Session) -> None:
        plan = Traffic(_PER_SECOND, _SECONDS, task=task, in_flight_limit=_AT_ONCE)
        try:
            async with _client(session) as client:
                await drive(plan, url, client=client)
        finally:
            self._busy.discard(url)


async def _name_of(url: str, session: Session) -> str:
    """Return the name of a service's model; empty if it does not say."""
    try:
        return (await _models(url, session))[0]
    except ServiceFailed:
        return ""


async def _demo_task(url: str, session: Session) -> str:
    """Return the task of a demo model. Raises ServiceFailed, InvalidParameter for other models."""
    name, task = await _models(url, session)
    if not name.startswith(DEMO):
        raise InvalidParameter("Demo traffic is for the demo models only.")
    return task


async def _models(url: str, session: Session) -> tuple[str, str]:
    """Return the name and the task of a service's model. Raises ServiceFailed."""
    try:
        async with _client(session) as client:
            found = await client.get(f"{url}/v1/models", timeout=_ASK_SECONDS)
            return str(found.raise_for_status().json()["data"][0]["id"]), parse_task(found)
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        raise ServiceFailed(f"The service at {url} does not say what it serves.") from None


def _client(session: Session) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        timeout=_TIMEOUT_SECONDS, headers=session.authorization(), trust_env=False
    )
