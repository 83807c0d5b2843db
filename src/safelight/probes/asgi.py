"""Measures any ASGI application (FastAPI, Starlette), and answers `/metrics` in front of it.

Pure ASGI: it reads no body and starts no task; it counts what passes by.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from time import perf_counter
from typing import Any

from safelight.errors import AlreadyWatched
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.request_counts import Tallies
from safelight.probes.routes import Routes
from safelight.reasons import reason_of_exception, reason_of_status
from safelight.telemetry.record import CURRENT_PASSAGE, Exchange, Sink, finish
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.traces import current_trace_id, trace_id_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METRICS_PATH = "/metrics"
_WRONG_METHOD = 405  # a caller of no route is none of the model's


class AsgiProbe:
    """Wraps an ASGI application; a request that reaches a model also becomes a Record.

    `model_endpoints` are routes whose failures before the model count as the model's requests from
    the start; every route seen to call a pipeline joins them by itself.
    """

    def __init__(
        self, app: App, *, meter: Meter, sink: Sink, model_endpoints: Collection[str] = ()
    ) -> None:
        self._app = app
        self._meter = meter
        self._sink = sink
        self._model_endpoints = set(model_endpoints)
        self._routes = Routes()
        self._guard = Guard("asgi", meter.probe_failed)
        self._tallies = Tallies(meter)
        self._in_progress = 0
        # Read when scraped: a number of our own is cheaper to move than a locked gauge.
        meter.child(HTTP_IN_PROGRESS).set_function(lambda: self._in_progress)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].endswith(METRICS_PATH) and _is_metrics(scope):
            await self._expose(scope, send)
            return
        # In one function on purpose: every request feels each call and coroutine more.
        passage = _Passage(receive, send)
        # Mounts overwrite both, and the template is looked up afterwards.
        app, root_path = scope.get("app", self._app), scope.get("root_path", "")
        token = CURRENT_PASSAGE.set(passage)
        self._in_progress += 1
        try:
            await self._app(scope, passage.receive, passage.send)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            passage.status = passage.status or (499 if cancelled else 500)
            passage.error = reason_of_exception(error)
            raise
        finally:
            CURRENT_PASSAGE.reset(token)
            self._in_progress -= 1
            try:
                self._count(scope, app, root_path, passage)
            except Exception as error:  # noqa: BLE001 - the watcher never hurts the watched
                self._guard.note(error)

    def _count(self, scope: Scope, app: Any, root_path: str, passage: "_Passage") -> None:
        seconds = (passage.ended or perf_counter()) - passage.started
        handler = self._routes.template(scope, app, root_path)
        trace_id = passage.trace_id or trace_id_of(scope["headers"])
        key = (handler, scope["method"], passage.status)
        self._tallies.count(key, seconds, passage.received_bytes, passage.sent_bytes, trace_id)
        if passage.is_model_request or (
            handler in self._model_endpoints and passage.status != _WRONG_METHOD
        ):
            self._model_endpoints.add(handler)
            passage.exchange.trace_id = trace_id
            error = passage.error or reason_of_status(passage.status)
            ended = passage.ended or None
            self._sink(finish(passage.exchange, handler, passage.status, error, ended=ended))

    async def _expose(self, scope: Scope, send: Send) -> None:
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        # In a thread: writing thousands of lines takes milliseconds that requests would wait for.
        answer = await asyncio.to_thread(self._meter.expose, accept.decode("latin-1"))
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _is_metrics(scope: Scope) -> bool:
    """Tell whether `/metrics` of this very application is asked for, wherever it is mounted."""
    here = scope["path"] in (METRICS_PATH, scope.get("root_path", "") + METRICS_PATH)
    return here and scope["method"] in ("GET", "HEAD")


class _Passage:
    """One request on its way through: counts the bytes of both directions."""

    # On the class, so that making a passage sets three attributes and not nine.
    status = 0
    received_bytes = 0
    sent_bytes = 0
    ended = 0.0
    error: str | None = None
    trace_id: str | None = None
    _exchange: Exchange | None = None

    def __init__(self, receive: Receive, send: Send) -> None:
        self.started = perf_counter()
        self._receive = receive
        self._send = send

    @property
    def exchange(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(Timeline(self.started))
        return self._exchange

    @property
    def is_model_request(self) -> bool:
        return self._exchange is not None and self._exchange.is_model_request

    async def receive(self) -> Message:
        message = await self._receive()
        self.received_bytes += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # No coroutine of our own: the server's is handed through, which is cheaper.
        if self.status:
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                self.ended = perf_counter()  # background tasks follow, and nobody waits for them
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            # Here, not at the end: a tracing middleware inside us has closed its span by then.
            self.trace_id = current_trace_id()
        return self._send(message)


class AppProbe:
    """Puts an AsgiProbe around a FastAPI or Starlette application in place, and takes it off."""

    def __init__(self, app: Any, **wanted: Any) -> None:
        if any(_is_ours(middleware) for middleware in app.user_middleware):
            raise AlreadyWatched("application")
        from starlette.middleware import Middleware

        self._app = app
        self._middleware = Middleware(AsgiProbe, **wanted)
        app.user_middleware.insert(0, self._middleware)
        app.middleware_stack = None  # built anew at the next request, also after a start

    def unwatch(self) -> None:
        """Take the probe off; a second call does nothing."""
        if self._middleware in self._app.user_middleware:
            self._app.user_middleware.remove(self._middleware)
            self._app.middleware_stack = None


def _is_ours(middleware: Any) -> bool:
    return getattr(middleware, "cls", None) is AsgiProbe
