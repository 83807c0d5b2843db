"""What is so at a service now, for the page Act: ready, drained, asleep, level, canary, rollout."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import monotonic

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_query
from safelight.console.gateway import Gateway, Whole
from safelight.console.sessions import Session, session_of
from safelight.errors import SafelightError

_PART_SECONDS, _ALL_SECONDS = 4.0, 8.0
_FRESH_SECONDS, _ALONE_SECONDS = 3.0, 60.0
_UNAUTHORIZED, _NOT_FOUND, _CONFLICT = 401, 404, 409
_SECOND = ("shadow", "rollout")  # parts of a second model
_PARTS = {
    "ready": ("/readyz", ("status",)),
    "degradation": ("/v1/degradation", ("level", "pinned", "by", "highest", "levels")),
    "drain": ("/v1/drain", ("draining", "since", "by", "requests", "model")),
    "canary": ("/v1/model/canary", ("on", "in_service", "readiness_forced", "waits", "workers")),
    "shadow": ("/v1/shadow", ("second", "state", "problem", "verdict", "pairs", "limit", "ended")),
    "rollout": (
        "/v1/rollout",
        ("first", "second", "state", "problem", "status", "percent", "steps", "missing", "figures"),
    ),
}  # each with what the page shows of it


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    service: int = Field(ge=0, le=1000)


@dataclass(slots=True)
class State:
    """A service: `problem` says why nothing is known, `missing` why a part is not."""

    service: str
    problem: str = ""
    parts: dict[str, dict[str, object]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Kept:
    reading: "asyncio.Task[State]"
    asked_at: float


class States:
    """The route of the page's readings. Each asks the service for one part after the other.

    Viewers with the same scopes share a reading for some seconds. A service without a second model
    is asked for one once a minute. Belongs to one event loop; `clock` is in seconds.
    """

    def __init__(self, gateway: Gateway, clock: Callable[[], float] = monotonic) -> None:
        self._gateway = gateway
        self._clock = clock
        self._kept: dict[tuple[int, frozenset[str]], _Kept] = {}
        self._alone: dict[int, tuple[float, str]] = {}  # until when, and the service's words

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/data/state", self._show)]

    async def _show(self, request: Request) -> Response:
        number = read_query(request, _Asked).service
        state = State(self._gateway.origin(number))
        session, now = session_of(request), self._clock()
        key = number, session.scopes
        kept = self._kept.get(key)
        if kept is None or now - kept.asked_at > _FRESH_SECONDS:
            reading = asyncio.create_task(self._found(state, session, number))
            kept = self._kept[key] = _Kept(reading, now)
        found = await asyncio.shield(kept.reading)
        if found.problem and self._kept.get(key) is kept:
            del self._kept[key]  # it may be over at the next look
        return answer(asdict(found))

    def forget(self, number: int) -> None:
        """Ask a service again for the next viewer: somebody changed its state."""
        for key in [key for key in self._kept if key[0] == number]:
            del self._kept[key]

    async def _found(self, state: State, session: Session, number: int) -> State:
        try:
            async with asyncio.timeout(_ALL_SECONDS):
                await self._read(state, session, number)
        except (TimeoutError, httpx.TimeoutException):
            state.problem = f"{state.service} answers too slowly: it took {_PART_SECONDS:g} s."
        except httpx.RequestError:
            state.problem = f"{state.service} does not answer. Is it running?"
        except SafelightError as error:
            state.problem = str(error)
        return state

    async def _read(self, state: State, session: Session, number: int) -> None:
        for name, (path, wanted) in _PARTS.items():
            if name in _SECOND and (why := self._without_second(number)):
                state.missing[name] = why
                continue
            found = await self._gateway.send(session, number, ("GET", path, b""), _PART_SECONDS)
            if found.status == _UNAUTHORIZED:
                state.problem = (
                    f"{state.service} wants an API key. Start the console with the same "
                    "SAFELIGHT_API_KEYS_FILE as the service."
                )
                return
            if found.is_success:
                state.parts[name] = {key: found.content.get(key) for key in wanted}
            else:
                state.missing[name] = _why(found)
                if name in _SECOND and found.status == _CONFLICT:
                    self._alone[number] = self._clock() + _ALONE_SECONDS, _why(found)

    def _without_second(self, number: int) -> str:
        """Return why a service has no second model, if it said so a moment ago; else nothing."""
        until, why = self._alone.get(number, (0.0, ""))
        return why if self._clock() < until else ""


def _why(found: Whole) -> str:
    if found.status == _NOT_FOUND:
        return "This service is an older version, which cannot do this."
    return found.detail
