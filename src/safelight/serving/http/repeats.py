"""Answer a request that is sent again without doing its work again.

Requests of one caller with the same key and content share one run. A good answer is kept for a
while, within limits of number, bytes and time. Of the callers, the one with most bytes loses first.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from time import monotonic

from fastapi import Request
from fastapi.responses import Response

from safelight.errors import Cancelled, IdempotencyConflict, Timeout
from safelight.serving.http.disconnect import DisconnectWatch
from safelight.serving.http.naming import SERVER_ID
from safelight.serving.http.requests import stop
from safelight.serving.http.shares import Shares
from safelight.serving.job import Job
from safelight.serving.timers import Timers
from safelight.telemetry.record import Exchange

KEPT_SECONDS = 300.0
KEPT_NUMBER = 1000
KEPT_BYTES = 32 * 1024 * 1024
_OVERHEAD_BYTES = 2048  # of an answer's headers and objects
_REPEATS_PER_CALLER = 64
_SMALL_BYTES = 64 * 1024  # below this, a thread costs more than the digest
_BOUNDARY = re.compile(r'boundary="?([^";]+)', re.IGNORECASE)

Name = tuple[str, str]  # the caller, and the key


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when it began on the event loop's clock, and how long it may take."""

    request: Request
    exchange: Exchange
    started: float
    timeout_seconds: float


@dataclass(slots=True, eq=False)
class Run:
    """The work that all requests with one name share, and how many of them wait for it."""

    digest: bytes
    exchange: Exchange
    jobs: Sequence[Job] = ()
    waiting: int = 0
    task: "asyncio.Task[Response] | None" = None

    def stop(self) -> None:
        """Stop the work: nobody waits for it."""
        stop(self.jobs, Cancelled())
        if self.task is not None and not self.jobs:
            self.task.cancel()


Work = Callable[[Run], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A good answer."""

    digest: bytes
    request_id: str
    error: str
    response: Response
    until: float

    @property
    def bytes(self) -> int:
        """Return the memory that it takes."""
        return len(self.response.body) + _OVERHEAD_BYTES


@dataclass(slots=True)
class _OfCaller:
    answers: OrderedDict[str, Kept] = field(default_factory=OrderedDict)  # by key, the oldest first
    bytes: int = 0


class Answers:
    """The answers that are kept."""

    def __init__(
        self,
        *,
        limit_bytes: int = KEPT_BYTES,
        limit_number: int = KEPT_NUMBER,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limits = limit_number, limit_bytes
        self._clock = clock
        self._callers: dict[str, _OfCaller] = {}
        self.number = self.bytes = 0

    def get(self, name: Name) -> Kept | None:
        """Return the answer to a name, if it is kept still."""
        caller = self._callers.get(name[0])
        kept = caller.answers.get(name[1]) if caller else None
        return kept if kept is not None and kept.until > self._clock() else None

    def put(self, name: Name, run: Run, response: Response) -> None:
        """Keep an answer, and drop others if there are too many."""
        until, first = self._clock() + KEPT_SECONDS, run.exchange
        kept = Kept(run.digest, first.id, first.error, response, until)
        if kept.bytes > self._limits[1]:
            return
        self._drop(name)
        caller = self._callers.setdefault(name[0], _OfCaller())
        caller.answers[name[1]] = kept
        caller.bytes += kept.bytes
        self.number, self.bytes = self.number + 1, self.bytes + kept.bytes
        self._drop_expired()
        while self.number > self._limits[0]:
            self._drop_oldest_of(max(self._callers, key=lambda o: len(self._callers[o].answers)))
        while self.bytes > self._limits[1]:
            self._drop_oldest_of(max(self._callers, key=lambda o: self._callers[o].bytes))

    def forget(self, owner: str, name: str) -> None:
        """Drop a caller's answers to a request, by its id or key."""
        caller = self._callers.get(owner)
        for key, kept in list(caller.answers.items()) if caller else ():
            if name in (key, kept.request_id):
                self._drop((owner, key))

    def _drop_oldest_of(self, owner: str) -> None:
        self._drop((owner, next(iter(self._callers[owner].answers))))

    def _drop_expired(self) -> None:
        now = self._clock()
        for owner, caller in list(self._callers.items()):
            for key in [key for key, kept in caller.answers.items() if kept.until <= now]:
                self._drop((owner, key))

    def _drop(self, name: Name) -> None:
        caller = self._callers.get(name[0])
        kept = caller.answers.pop(name[1], None) if caller else None
        if caller is None or kept is None:
            return
        caller.bytes -= kept.bytes
        self.number, self.bytes = self.number - 1, self.bytes - kept.bytes
        if not caller.answers:
            del self._callers[name[0]]


class Repeats:
    """Runs each request with a key once."""

    def __init__(self, answers: Answers | None = None) -> None:
        self.answers = answers or Answers()
        self._runs: dict[Name, Run] = {}
        self._timers = Timers()
        self._waiting = Shares(_REPEATS_PER_CALLER, "repeats of running requests")

    async def answer(self, name: Name, digest: bytes, call: Call, work: Work) -> Response:
        """Return the answer of the first request with this name; `work` makes it if there is none.

        Raises IdempotencyConflict if the first had another content, Overloaded if too many of the
        caller's repeats wait, and what `work` raises.
        """
        run, kept = self._runs.get(name), self.answers.get(name)
        first = run or kept
        if first is not None and first.digest != digest:
            raise IdempotencyConflict
        call.exchange.key = name[1]
        if run is not None:
            self._waiting.check(name[0])
            with self._waiting.held(name[0]):
                return await self._wait(call, name, run, call.timeout_seconds)
        if kept is not None:
            return _again(kept.response, kept.error, call.exchange)
        run = self._runs[name] = Run(digest, call.exchange)
        # A task of its own: it goes on if the first caller leaves and another one waits.
        run.task = asyncio.ensure_future(work(run))
        run.task.add_done_callback(partial(self._end, name, run))
        return await self._wait(call, name, run, None)

    def _end(self, name: Name, run: Run, task: "asyncio.Task[Response]") -> None:
        self._forget(name, run)
        # To read the exception marks it as seen: a caller who left does not read it.
        if not task.cancelled() and task.exception() is None and task.result().status_code < 300:
            self.answers.put(name, run, task.result())

    def _forget(self, name: Name, run: Run) -> None:
        if self._runs.get(name) is run:
            del self._runs[name]

    async def _wait(
        self, call: Call, name: Name, run: Run, timeout_seconds: float | None
    ) -> Response:
        """Wait for the work; the last caller who leaves stops it. None waits to its end."""
        assert run.task is not None
        run.waiting += 1
        leave = _Once(lambda: self._leave(name, run))
        watch = DisconnectWatch(call.request, self._timers, leave)
        passed = asyncio.get_running_loop().time() - call.started
        remaining = None if timeout_seconds is None else max(0.0, timeout_seconds - passed)
        try:
            await asyncio.wait((run.task,), timeout=remaining)
        except asyncio.CancelledError:
            leave()
            raise
        finally:
            watch.end()
        if not run.task.done():
            leave()
            raise Timeout(call.timeout_seconds)
        if run.task.cancelled():
            raise Cancelled
        response = run.task.result()
        if call.exchange is run.exchange:
            return response
        return _again(response, run.exchange.error, call.exchange)

    def _leave(self, name: Name, run: Run) -> None:
        run.waiting -= 1
        if not run.waiting:
            self._forget(name, run)  # the next request with this name starts a new run
            run.stop()


class _Once:
    """A function that runs once, however often it is called."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


def _again(response: Response, error: str, own: Exchange) -> Response:
    """Return the same answer for another request, with this request's own id."""
    own.timeline.mark("queue")
    own.error = error
    headers = {**response.headers, SERVER_ID: own.id}
    return Response(response.body, response.status_code, headers)


async def digest_of(request: Request, body: bytes) -> bytes:
    """Return a digest of all that decides a request's answer: path, query, body, formats."""
    content_type = request.headers.get("content-type", "")
    boundary = _BOUNDARY.search(content_type)

    def digest() -> bytes:
        content, kind = body, content_type
        if boundary is not None:  # each attempt of a client has another boundary
            content = body.replace(boundary[1].encode("latin-1"), b"")
            kind = content_type.replace(boundary[1], "")
        parts = (request.url.path, request.url.query, kind, request.headers.get("accept", ""))
        return blake2b(content, digest_size=32, key=blake2b(repr(parts).encode()).digest()).digest()

    return digest() if len(body) < _SMALL_BYTES else await asyncio.to_thread(digest)
