"""Forwards what pages ask of the services: their routes and no others, with the viewer's key."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import SMALLER_IMAGE, Streamed, read_body
from safelight.console.sessions import Session, session_of
from safelight.errors import (
    Forbidden,
    MalformedBody,
    Overloaded,
    ServiceFailed,
    UnknownRequest,
    UnknownService,
)
from safelight.serving.http.scopes import ACCEPTED, OPERATE
from safelight.settings import PAGES

_PREFIX = "/service/{number}"
# Pages are for people, and metrics for Prometheus.
_OWN_PAGES = {f"GET {PAGES[name]}" for name in ("docs", "metrics")}
# What operators do goes through `/data/actions`, so that each action is in the audit log.
_ACTIONS = {route for route, needed in ACCEPTED.items() if needed == (OPERATE,)}
ROUTES = (
    *(route for route in ACCEPTED if route not in _OWN_PAGES | _ACTIONS),
    "GET /v1/images/{name}",
)
_SENT = ("accept", "content-type", "idempotency-key", "x-request-id")
_RECEIVED = ("content-type", "content-disposition", "retry-after", "server-timing")
_TIMEOUT = httpx.Timeout(60.0, connect=3.0, read=None, pool=3.0)  # the service ends what is slow
_AT_ONCE, _MOST_EVENTS, _EVENTS_OF_ONE, _RETRY_SECONDS = 16, 64, 16, 5.0
_EVENTS = "events"  # the kind of requests whose answers end with the request that they are about
_MOST_DIGITS = 4  # of the number of a service
_UNAUTHORIZED, _LEFT = 401, 499
_UPLOAD_SECONDS = 60.0
_MOST_BYTES = 1024 * 1024  # of an answer that the console reads itself


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that the console read itself: its status, and its JSON; empty if it is none."""

    status: int
    content: Mapping[str, object]

    @property
    def is_success(self) -> bool:
        """Return whether the service did what it was asked."""
        return httpx.codes.is_success(self.status)

    @property
    def detail(self) -> str:
        """Return a refusal in the service's words."""
        return str(self.content.get("detail") or f"It answered {self.status}.")


class Gateway:
    """The way from pages to services. Belongs to one event loop.

    `body_limit` is in bytes. At most 16 requests of a kind run until the end of their answers:
    what pages send, what they read, and what the console asks itself; and at most 64 streams of
    events, 16 of one viewer. One more gets Overloaded.
    """

    def __init__(self, urls: Sequence[str], body_limit: int) -> None:
        self.urls = tuple(urls)
        self._body_limit = body_limit
        self._client = _client(3 * _AT_ONCE)
        self._streams = _client(_MOST_EVENTS)  # of its own, so that streams keep nobody waiting
        self._running: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Return a route for each route of a service that pages may use."""
        pairs = (route.split(" ") for route in ROUTES)
        return [Route(f"{_PREFIX}{path}", self._forward, methods=[name]) for name, path in pairs]

    async def _forward(self, request: Request) -> Response:
        template = request.scope["route"].path.removeprefix(_PREFIX)
        session = session_of(request)
        needed = ACCEPTED.get(f"{request.method} {template}")
        if needed and not session.scopes.intersection(needed):
            raise Forbidden(session.name, needed)
        is_stream = template.endswith("/events")
        client = self._streams if is_stream else self._client
        async with AsyncExitStack() as held:
            if is_stream:
                held.enter_context(self._turn(_EVENTS, _MOST_EVENTS))
                held.enter_context(self._turn(f"{_EVENTS} {_viewer(request)}", _EVENTS_OF_ONE))
            else:
                held.enter_context(self._turn("reading" if request.method == "GET" else "sending"))
            asked = client.build_request(
                request.method,
                self._address(request.path_params, template),
                params=httpx.QueryParams(request.url.query),
                headers=_chosen(request.headers, _SENT) | session.authorization(),
                content=await self._body(request),
            )
            answer = await self._answer(request, client, asked)
            if answer is None:
                return Response(status_code=_LEFT)
            held.push_async_callback(answer.aclose)
            return Streamed(
                answer.aiter_bytes(), answer.status_code, _headers(answer), held.pop_all()
            )

    async def _body(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS):
                return await read_body(request, self._body_limit, SMALLER_IMAGE)
        except TimeoutError:
            raise MalformedBody(
                f"The body did not arrive within {_UPLOAD_SECONDS:g} s. Send it again."
            ) from None

    @contextmanager
    def _turn(self, kind: str, most: int = _AT_ONCE) -> Iterator[None]:
        """Count a running request of a kind: long edits must not keep operators from acting."""
        if self._running[kind] >= most:
            raise _too_many()
        self._running[kind] += 1
        try:
            yield
        finally:
            self._running[kind] -= 1
            if not self._running[kind]:
                del self._running[kind]

    def origin(self, number: int) -> str:
        """Return the address of a service. Raises UnknownService."""
        if not 0 <= number < len(self.urls):
            raise UnknownService(number, len(self.urls))
        return self.urls[number]

    async def send(
        self, session: Session, number: int, asked: tuple[str, str, bytes], seconds: float
    ) -> Whole:
        """Send a request of the console's own: a method, a path, and JSON or nothing.

        Waits for the answer so many seconds. Raises UnknownService, Overloaded, and
        httpx.RequestError if the service cannot be reached or its answer is lost.
        """
        method, path, content = asked
        with self._turn("own"):
            request = self._client.build_request(
                method,
                f"{self.origin(number)}{path}",
                headers={"content-type": "application/json"} | session.authorization(),
                content=content,
                timeout=httpx.Timeout(seconds, connect=min(seconds, 3.0)),
            )
            try:
                async with asyncio.timeout(seconds):
                    return await self._read(request)
            except httpx.PoolTimeout:
                raise _too_many() from None
            except TimeoutError:
                raise httpx.ReadTimeout(f"It took more than {seconds:g} s.") from None

    async def _read(self, request: httpx.Request) -> Whole:
        answer = await self._client.send(request, stream=True)
        try:
            read = bytearray()
            async for chunk in answer.aiter_bytes():
                read += chunk[: _MOST_BYTES - len(read)]
        finally:
            await answer.aclose()
        return Whole(answer.status_code, _fields(bytes(read)))

    def _address(self, values: Mapping[str, object], template: str) -> str:
        names = {name: str(value) for name, value in values.items()}
        number = _number(names.pop("number"))
        if {".", ".."}.intersection(names.values()):
            raise UnknownRequest("service")
        path = template.format(**{name: quote(value, safe="") for name, value in names.items()})
        return f"{self.origin(number)}{path}"

    async def _answer(
        self, request: Request, client: httpx.AsyncClient, asked: httpx.Request
    ) -> httpx.Response | None:
        """Return the head of the answer, or None if the viewer left before it came."""
        sending = asyncio.create_task(client.send(asked, stream=True))
        leaving = asyncio.create_task(_left(request))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                return None
            answer = await sending
        except httpx.PoolTimeout:
            raise _too_many() from None
        except httpx.RequestError:
            raise ServiceFailed(f"{_origin(asked)} does not answer. Is it running?") from None
        finally:
            leaving.cancel()
            sending.cancel()
        if answer.status_code == _UNAUTHORIZED:
            await answer.aclose()
            raise ServiceFailed(
                f"{_origin(asked)} wants an API key. Start the console with the same "
                "SAFELIGHT_API_KEYS_FILE as the service, so that people log in with their keys."
            )
        return answer


def _client(connections: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=20)
    return httpx.AsyncClient(
        timeout=_TIMEOUT, limits=limits, follow_redirects=False, trust_env=False
    )


def _too_many() -> Overloaded:
    return Overloaded("The console forwards too many requests. Wait.", _RETRY_SECONDS)


def _viewer(request: Request) -> str:
    return f"{session_of(request).name} {request.client.host if request.client else ''}"


def _number(text: str) -> int:
    """Return the number of a service in an address. Raises UnknownRequest."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise UnknownRequest("service")
    return int(text)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _fields(content: bytes) -> dict[str, object]:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _headers(answer: httpx.Response) -> dict[str, str]:
    own = {name: value for name, value in answer.headers.items() if name.startswith("x-")}
    return _chosen(answer.headers, _RECEIVED) | own | {"cache-control": "no-store"}


def _chosen(headers: Headers | httpx.Headers, names: Sequence[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


def _origin(asked: httpx.Request) -> str:
    return f"The service at {asked.url.scheme}://{asked.url.netloc.decode()}"
