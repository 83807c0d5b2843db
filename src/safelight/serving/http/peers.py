"""Ask the other instances of a service for what this instance does not have.

A running request, a stored image and a recent request are in the memory of one instance, but
a caller behind a load balancer may reach another. Four kinds of routes are forwarded, once.
"""

import asyncio
import re
import secrets
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache
from weakref import WeakValueDictionary

import httpx
import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.errors import Forbidden, Overloaded, Unauthorized, UnknownRequest
from safelight.serving.http.access import has_keys
from safelight.serving.http.addresses import Addresses, Peer, Resolve, look_up
from safelight.serving.http.forwarding import (
    Held,
    Replay,
    first,
    pass_on,
    start_of_body,
    until_disconnect,
)
from safelight.serving.http.problems import problem
from safelight.settings import Settings

MARK = "x-safelight-peer"
BODY_LIMIT_BYTES = 4096  # as of a rating
ANSWER_SECONDS = 7.0  # an instance waits five for its database
_CONNECT_SECONDS = 1.0
_RETRY_SECONDS = 5.0
_START_SECONDS = 0.05
_AT_ONCE, _PER_CALLER = 8, 2
_EVENTS = "/events"
_ID, _IMAGE = "[0-9A-Fa-f-]{32,36}", "[0-9A-Za-z_-]{32}"
_ROUTES = re.compile(
    f"GET /v1/requests/{_ID}{_EVENTS}|DELETE /v1/requests/{_ID}(/record)?|"
    f"POST /v1/requests/{_ID}/rating|GET /v1/images/{_IMAGE}"
)
_REFUSED = (Unauthorized.status, Forbidden.status)
_SENT = (b"authorization", b"content-type")
_FOR = "x-forwarded-for"
log = structlog.get_logger("safelight")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a caller asked, as the other instances get it."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Peers:
    """Wraps an application; the settings name the instances.

    Without API keys, a caller's address decides what is theirs. So the address in a forwarded
    request counts only if the request comes from one of the instances.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        resolve: Resolve = look_up,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._app = app
        self._addresses = Addresses(settings.peers, resolve=resolve)
        self._uses_tls = "https://" in settings.peers
        self._has_keys = has_keys(settings)
        self._answer_seconds = answer_seconds
        self._id = secrets.token_hex(16)
        self._own: set[Peer] = set()  # this instance, by its addresses that the names lead to
        self._failing: set[Peer] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._shares = WeakValueDictionary[str, asyncio.Semaphore]()  # of callers who ask now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or not _ROUTES.fullmatch(f"{scope['method']} {path}"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if MARK in headers:
            await self._serve_peer(scope, receive, send)
            return
        begun, body = list[Message](), b""
        if scope["method"] == "POST":
            begun, body = await start_of_body(headers, receive, BODY_LIMIT_BYTES)
        receiving, answer = Replay(begun, receive), Held(send)
        asked = _Asked(scope["method"], path, self._headers(scope), body)
        own = asyncio.ensure_future(self._app(scope, receiving, answer.send))
        own.add_done_callback(lambda _: answer.decided.set())
        try:
            # The route of events waits for a request that is still being received: do not.
            await asyncio.wait((own,), timeout=_START_SECONDS if path.endswith(_EVENTS) else None)
            if not (answer.is_sent or (own.done() and not answer.held)):
                await until_disconnect(self._relay(asked, answer, scope, own), receiving)
                return
            await own
        finally:
            own.cancel()
            await asyncio.gather(own, return_exceptions=True)

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the headers of a forwarded request: few of the caller's, and its address."""
        kept = [(name, value) for name, value in scope["headers"] if name in _SENT]
        own = {_FOR: _address(scope), MARK: self._id, "accept-encoding": "identity"}
        return [*kept, *((name.encode(), value.encode()) for name, value in own.items())]

    async def _serve_peer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that another instance forwards; never forward it again."""
        headers = Headers(scope=scope)
        if headers[MARK] == self._id:
            response = problem(UnknownRequest.status, UnknownRequest.reason, "This is the asker.")
            response.headers[MARK] = self._id
            await response(scope, receive, send)
            return
        caller, sender = headers.get(_FOR, "").rpartition(",")[2].strip(), _address(scope)
        # They are equal if a trusted proxy is between the instances.
        if not self._has_keys and caller != sender:
            if not await self._is_peer(sender):
                why = f"{MARK} comes from {sender}, which SAFELIGHT_PEERS does not name"
                await _refuse(why, scope, send)
                return
            scope["client"] = (caller, 0)
        await self._app(scope, receive, send)

    async def _is_peer(self, address: str) -> bool:
        found = await self._addresses.find()
        if not found.has(address):
            found = await self._addresses.find(fresh=True)
        return found.has(address)

    async def _relay(
        self, asked: _Asked, answer: Held, scope: Scope, own: asyncio.Future[None]
    ) -> None:
        """Send the answer of the instance that has what was asked for, else the own 404."""
        timeout = httpx.Timeout(self._answer_seconds, connect=_CONNECT_SECONDS)
        verify = _known_authorities() if self._uses_tls else False
        async with httpx.AsyncClient(timeout=timeout, trust_env=False, verify=verify) as client:
            found, failure = await self._ask(client, asked, answer, _caller(scope))
            if found is not None and not answer.is_sent:
                await pass_on(found, answer.take())
                return
        if failure and not answer.is_sent:
            why = f"Not every other instance could be asked for it: {failure}"
            await _refuse(why, scope, answer.take())
            return
        await own
        await answer.release()

    async def _ask(
        self, client: httpx.AsyncClient, asked: _Asked, answer: Held, caller: str
    ) -> tuple[httpx.Response | None, str]:
        """Return the answer of the instance that has it, or None and why not all have answered."""
        async with AsyncExitStack() as slots:
            try:
                async with asyncio.timeout(self._answer_seconds):
                    for slot in (self._share(caller), self._slots):
                        await slots.enter_async_context(slot)
            except TimeoutError:
                return None, "too many callers ask now"
            return await self._ask_all(client, asked, answer)

    def _share(self, caller: str) -> asyncio.Semaphore:
        """Return the slots of one caller, so that it never holds all."""
        return self._shares.setdefault(caller, asyncio.Semaphore(_PER_CALLER))

    async def _ask_all(
        self, client: httpx.AsyncClient, asked: _Asked, answer: Held
    ) -> tuple[httpx.Response | None, str]:
        tasks = [asyncio.create_task(answer.decision())]
        try:
            found = await self._addresses.find()
            self._failing.intersection_update(found.peers)  # forget those that are gone
            peers = [peer for peer in found.peers if peer not in self._own]
            tasks += [asyncio.create_task(self._ask_one(client, asked, peer)) for peer in peers]
            decided, failed = await first(tasks)
            lost = f"{failed} of {len(peers)} did not answer" if failed else ""
            return decided, lost or found.missing
        finally:
            for task in tasks:
                task.cancel()

    async def _ask_one(
        self, client: httpx.AsyncClient, asked: _Asked, peer: Peer
    ) -> httpx.Response | None:
        """Return an instance's answer without its body, or None if it cannot answer."""
        request = client.build_request(
            asked.method,
            f"{peer.url}{asked.path}",
            headers=[*asked.headers, (b"host", peer.host.encode())],
            content=asked.body or None,
            extensions={"sni_hostname": peer.name},
        )
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await client.send(request, stream=True)
        except (httpx.HTTPError, TimeoutError) as error:
            self._note_failure(peer, str(error) or type(error).__name__)
            return None
        if answer.headers.get(MARK) == self._id:
            self._own.add(peer)
        # This instance knows the caller's key. If the other does not, its keys are older or newer.
        if answer.is_server_error or answer.status_code in _REFUSED:
            self._note_failure(peer, f"it returned {answer.status_code} {answer.reason_phrase}")
            return None
        self._failing.discard(peer)
        return answer

    def _note_failure(self, peer: Peer, error: str) -> None:
        """Log the first of several failures of an instance."""
        if peer not in self._failing:
            self._failing.add(peer)
            log.warning("instance not reached", **{"url.full": peer.url, "error.message": error})


def _address(scope: Scope) -> str:
    """Return the caller's address, as it decides what is theirs."""
    return str(scope["client"][0]) if scope.get("client") else ""


def _caller(scope: Scope) -> str:
    """Return the name of the caller's key once it was accepted, else the caller's address."""
    return str(scope.get("state", {}).get("owner") or _address(scope))


async def _refuse(why: str, scope: Scope, send: Send) -> None:
    """Answer 503, since nobody knows whether the right answer is 404."""
    detail = f"{why}. Retry in {_RETRY_SECONDS:.0f} seconds."
    response = problem(Overloaded.status, Overloaded.reason, detail, _RETRY_SECONDS)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await response(scope, receive, send)


@cache
def _known_authorities() -> ssl.SSLContext:
    """Return the system's authorities; reading them takes too long for each request."""
    return ssl.create_default_context()
