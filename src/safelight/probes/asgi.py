"""Measure an ASGI application (FastAPI, Starlette) and serve `/metrics` in front of it.

The probe reads no body and starts no task: it counts the messages that pass through.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from time import perf_counter

from safelight.errors import AlreadyWatched
from safelight.libraries import Message, Scope, WebApp
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.registry import Meter
from safelight.metrics.series import VALUE
from safelight.probes.guard import Guard
from safelight.probes.request_counts import RequestCounts
from safelight.probes.routes import Routes
from safelight.reasons import reason_of_exception, reason_of_status
from safelight.telemetry.record import CURRENT_REQUEST, Exchange, Sink, finish
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.traces import current_trace_id, trace_id_of

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

METRICS_PATH = "/metrics"
_METHOD_NOT_ALLOWED = 405  # such a request reached no route, so it is not a model request


class AsgiProbe:
    """Wraps an ASGI application; a request that reaches a model also becomes a Record.

    `model_endpoints` are routes whose requests always count as model requests, also if they fail
    before the model. A route that calls a pipeline is added automatically.
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
        self._counts = RequestCounts(meter)
        self._in_progress = meter.child(HTTP_IN_PROGRESS)
        self._membership = meter.membership
        self._membership.join(Guard("processes", meter.probe_failed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP is measured."""
        if scope["type"] != "http":
            await self._pass_on(scope, receive, send)
            return
        if scope["path"].endswith(METRICS_PATH) and _is_metrics(scope):
            await self._expose(scope, send)
            return
        # One function on purpose: each additional call or coroutine slows every request.
        request = _Request(receive, send)
        # Saved because mounts overwrite both before the route template is looked up.
        app, root_path = scope.get("app", self._app), scope.get("root_path", "")
        token = CURRENT_REQUEST.set(request)
        # Not `inc`: one thread at a time changes it, so it needs no lock.
        self._in_progress.cells[VALUE] += 1
        try:
            await self._app(scope, request.receive, request.send)
        except BaseException as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            request.status = request.status or (499 if cancelled else 500)
            request.error = reason_of_exception(error)
            raise
        finally:
            CURRENT_REQUEST.reset(token)
            self._in_progress.cells[VALUE] -= 1
            try:
                self._count(scope, app, root_path, request)
            except Exception as error:  # noqa: BLE001 - a failure here must not fail the request
                self._guard.report(error)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = ""

        async def noted() -> Message:
            nonlocal last
            message = await receive()
            last = message["type"]
            return message

        await self._app(scope, noted if scope["type"] == "lifespan" else receive, send)
        if last == "lifespan.shutdown":  # here, because uvicorn's workers end by a signal
            self._membership.leave()

    def _count(self, scope: Scope, app: WebApp, root_path: str, request: "_Request") -> None:
        seconds = (request.ended or perf_counter()) - request.started
        if not self._membership.address:
            self._membership.serve_at(scope.get("server"))
        handler = self._routes.template(scope, app, root_path)
        trace_id = request.trace_id or trace_id_of(scope["headers"])
        key = (handler, scope["method"], request.status)
        self._counts.count(key, seconds, request.received_bytes, request.sent_bytes, trace_id)
        if request.is_model_request or (
            handler in self._model_endpoints and request.status != _METHOD_NOT_ALLOWED
        ):
            self._model_endpoints.add(handler)
            request.exchange.trace_id = trace_id
            error = request.error or reason_of_status(request.status)
            ended = request.ended or None
            self._sink(finish(request.exchange, handler, request.status, error, ended=ended))

    async def _expose(self, scope: Scope, send: Send) -> None:
        if not self._membership.address:
            self._membership.serve_at(scope.get("server"))
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        # In a thread: the exposition takes milliseconds that would block other requests.
        exposition = await asyncio.to_thread(self._meter.expose, accept.decode("latin-1"))
        headers = [
            (b"content-type", exposition.content_type.encode()),
            (b"content-length", str(len(exposition.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": exposition.body})


def _is_metrics(scope: Scope) -> bool:
    """Return True for `/metrics` of this application, wherever it is mounted."""
    matches = scope["path"] in (METRICS_PATH, scope.get("root_path", "") + METRICS_PATH)
    return matches and scope["method"] in ("GET", "HEAD")


class _Request:
    """One running request: counts the bytes of both directions."""

    # On the class: then a new object sets three attributes, not nine.
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
        # Not a coroutine: to return the server's own awaitable is cheaper.
        if self.status:
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                self.ended = perf_counter()  # background tasks may follow; no caller waits for them
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            # Here, because an inner tracing middleware closes its span before the end.
            self.trace_id = current_trace_id()
        return self._send(message)


class AppProbe:
    """Adds an AsgiProbe to a FastAPI or Starlette application, and removes it."""

    def __init__(self, app: WebApp, **options: WebApp) -> None:
        if any(_is_probe(middleware) for middleware in app.user_middleware):
            raise AlreadyWatched("application")
        from starlette.middleware import Middleware

        self._app = app
        self._middleware = Middleware(AsgiProbe, **options)
        app.user_middleware.insert(0, self._middleware)
        app.middleware_stack = None  # rebuilt at the next request

    def unwatch(self) -> None:
        """Remove the probe; a second call does nothing."""
        if self._middleware in self._app.user_middleware:
            self._app.user_middleware.remove(self._middleware)
            self._app.middleware_stack = None


def _is_probe(middleware: WebApp) -> bool:
    return getattr(middleware, "cls", None) is AsgiProbe
