"""The page Act: what operators do to services, each with a line in the audit log before it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from secrets import token_hex

import httpx
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.acts import ACTS, BY_NAME, Act
from safelight.console.answering import answer, read_json, refused
from safelight.console.audit import Audit
from safelight.console.gateway import Gateway, Whole
from safelight.console.sessions import Session, session_of
from safelight.errors import BadSetting, InvalidParameter, SafelightError, Unusable
from safelight.serving.http.scopes import OPERATE

_ACT_SECONDS = 300.0  # a model may load for so long
_ANYONE = "anyone on this machine"
_MOST_DETAIL = 500
_BAD_GATEWAY, _UNAUTHORIZED, _CONFLICT = 502, 401, 409
DONE, REFUSED, FAILED, UNKNOWN, RUNNING = "done", "refused", "failed", "unknown", "running"
_LOST = (
    "{url} was asked, and its answer was lost: nobody knows whether it was done. Look at what is "
    "so now before you try again."
)
_BUSY = (
    "The same action runs at this service already: a colleague began it, or you did on another "
    "page. See in the log how it ends, and then decide again."
)
_KEYLESS = (
    "{url} wants an API key. Start the console with the same SAFELIGHT_API_KEYS_FILE as the "
    "service, so that people log in with their keys."
)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    action: str = Field(max_length=40)
    service: int = Field(0, ge=0, le=1000)
    parameters: dict[str, object] = Field({}, max_length=10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended: in a word, the status of the service (0 without one), and in words."""

    result: str
    status: int = 0
    detail: str = ""


class Actions:
    """The routes of the page. `reload` reads the limits again, and may raise SafelightError.

    `changed` is told the number of a service to which something was done.
    """

    def __init__(
        self,
        gateway: Gateway,
        audit: Audit,
        reload: Callable[[], None],
        changed: Callable[[int], None],
    ) -> None:
        self._changed = changed
        self._gateway = gateway
        self._audit = audit
        self._reload = reload
        self._running: set[str] = set()
        self._busy: set[tuple[str, int]] = set()  # actions, with the number of the service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/data/actions", self._shown, methods=["GET"]),
            Route("/data/actions", self._act, methods=["POST"]),
            Route("/data/actions/table", self._table),
        ]

    async def _table(self, _: Request) -> Response:
        rows = [{**asdict(act), "parameters": list(act.parameters.model_fields)} for act in ACTS]
        return answer(rows)

    async def _shown(self, _: Request) -> Response:
        running = frozenset(self._running)  # before the file, so that none ends in between
        entries = await asyncio.to_thread(self._audit.last)
        return answer([_judged(entry, running) for entry in entries])

    async def _act(self, request: Request) -> Response:
        session = session_of(request)
        session.require(OPERATE)
        asked = await read_json(request, _Asked)
        act = BY_NAME.get(asked.action)
        if act is None:
            raise InvalidParameter("There is no such action.")
        content = _checked(act, asked.parameters)
        entry: dict[str, object] = {
            "id": token_hex(8),
            "at": _now(),
            "name": session.name or _ANYONE,
            "service": self._gateway.origin(asked.service) if act.route else "the console",
            "action": act.name,
            "parameters": asked.parameters,
            "result": RUNNING,
        }
        outcome, problem = await self._traced(act, asked, session, content, entry)
        status = _status(outcome)
        return answer({**asdict(outcome), "problem": problem, "reason": outcome.result}, status)

    async def _traced(
        self, act: Act, asked: _Asked, session: Session, content: bytes, entry: dict[str, object]
    ) -> tuple[Outcome, str]:
        """Act between the two lines of the log; return how it ended, and what the log complains."""
        name = str(entry["id"])
        self._running.add(name)
        try:
            await asyncio.to_thread(self._audit.write, entry)
            outcome = await self._outcome(act, asked.service, session, content)
            self._changed(asked.service)
            after = {**entry, "ended_at": _now(), **asdict(outcome)}
            try:
                await asyncio.to_thread(self._audit.write, after)
            except BadSetting as error:
                return outcome, f"It was tried, and the log does not say how it ended. {error}"
            return outcome, ""
        finally:
            self._running.discard(name)

    async def _outcome(self, act: Act, number: int, session: Session, content: bytes) -> Outcome:
        """Act, unless the same action runs there: of two at once, nobody could say which lasts."""
        busy = act.name, number
        if busy in self._busy:
            return Outcome(REFUSED, _CONFLICT, _BUSY)
        self._busy.add(busy)
        try:
            return await self._done(act, number, session, content)
        finally:
            self._busy.discard(busy)

    async def _done(self, act: Act, number: int, session: Session, content: bytes) -> Outcome:
        if not act.route:
            return await self._reloaded()
        url = self._gateway.origin(number)
        path = act.route.partition(" ")[2].replace("{action}", act.action)
        try:
            asked = ("POST", path, content)
            return _said(await self._gateway.send(session, number, asked, _ACT_SECONDS), url)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Outcome(FAILED, 0, f"{url} does not answer. Is it running?")
        except httpx.RequestError:  # also an answer that cannot be decoded
            return Outcome(UNKNOWN, 0, _LOST.format(url=url))
        except SafelightError as error:
            return Outcome(FAILED, error.status, str(error))

    async def _reloaded(self) -> Outcome:
        try:
            await asyncio.to_thread(self._reload)
        except Unusable as error:
            return Outcome(FAILED, 0, str(error)[:_MOST_DETAIL])
        return Outcome(DONE)


def _checked(act: Act, parameters: dict[str, object]) -> bytes:
    """Return the body for the service. Raises InvalidParameter."""
    try:
        checked = act.parameters.model_validate(parameters)
    except ValidationError as error:
        raise refused(error, act.parameters) from None
    return orjson.dumps(checked.model_dump()) if parameters else b""


def _said(found: Whole, url: str) -> Outcome:
    """Return what a service's answer says of an action."""
    if found.is_success:
        return Outcome(DONE, found.status)
    if found.status == _UNAUTHORIZED:
        return Outcome(REFUSED, found.status, _KEYLESS.format(url=url))
    result = REFUSED if found.status < httpx.codes.INTERNAL_SERVER_ERROR else FAILED
    return Outcome(result, found.status, found.detail[:_MOST_DETAIL])


def _status(outcome: Outcome) -> int:
    """Return the status for the page. 401 would ask the viewer to log in, who is logged in."""
    if outcome.result == DONE:
        return int(httpx.codes.OK)
    return outcome.status if outcome.status not in (0, _UNAUTHORIZED) else _BAD_GATEWAY


def _judged(entry: dict[str, object], running: frozenset[str]) -> dict[str, object]:
    """Return an entry with the title of its action. One that never ended is unknown."""
    act = BY_NAME.get(str(entry.get("action")))
    lasts = entry.get("result") == RUNNING and entry["id"] not in running
    return {
        **entry,
        "title": (act.full or act.title) if act else str(entry.get("action")),
        "result": UNKNOWN if lasts else entry.get("result"),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
