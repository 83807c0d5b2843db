"""What is so at a service now, for the page Act: ready, drained, asleep, level, canary, rollout."""

import asyncio
from dataclasses import asdict, dataclass, field

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_query
from safelight.console.gateway import Gateway, Whole
from safelight.console.sessions import Session, session_of

_PART_SECONDS, _ALL_SECONDS = 4.0, 8.0
_UNAUTHORIZED, _NOT_FOUND = 401, 404
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


class States:
    """The route of the page's readings. Each asks the service for one part after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/data/state", self._show)]

    async def _show(self, request: Request) -> Response:
        asked = read_query(request, _Asked)
        state = State(self._gateway.origin(asked.service))
        session = session_of(request)
        try:
            async with asyncio.timeout(_ALL_SECONDS):
                await self._read(state, session, asked.service)
        except (TimeoutError, httpx.TimeoutException):
            state.problem = f"{state.service} answers too slowly: it took {_PART_SECONDS:g} s."
        except httpx.RequestError:
            state.problem = f"{state.service} does not answer. Is it running?"
        return answer(asdict(state))

    async def _read(self, state: State, session: Session, number: int) -> None:
        for name, (path, wanted) in _PARTS.items():
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


def _why(found: Whole) -> str:
    if found.status == _NOT_FOUND:
        return "This service is an older version, which cannot do this."
    return found.detail
