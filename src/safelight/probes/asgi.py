"""Measure an ASGI application (FastAPI, Starlette) and serve `/metrics` in front of it.

The probe reads no body and starts no task: it counts the messages that pass through.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

from safelight.errors import AlreadyWatched
from safelight.libraries import Message, Scope, WebApp
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.page import Page
from safelight.metrics.registry import Meter
from safelight.probes.declare import BODY_LIMIT_BYTES, Response, judged, outcome
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.guard import Guard
from safelight.probes.options import WebOptions
from safelight.probes.own_page import Refusal, answer, asgi_page
from safelight.probes.request_counts import RequestCounts
from safelight.probes.routes import Routes, with_routes
from safelight.reasons import NO_ERROR, reason_of_exception, reason_of_status
from safelight.telemetry.record import CURRENT_REQUEST, Exchange, Sink, enclosing_request, finish
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.traces import current_trace_id, trace_id_of

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_METHOD_NOT_ALLOWED = 405  # such a request reached no route, so it is not a model request
_DEFAULT = WebOptions()


class AsgiProbe:
    """Wraps an ASGI application; a request that reaches a model also becomes a Record.

    `model_endpoints` are routes whose requests always count as model requests, also if they fail
    before the model. A route that calls a model is added automatically. `failed` judges each
    response. With `joins_pages`, the application's own metrics are part of `/metrics`.
    """

    def __init__(
        self,
        app: App,
        *,
        meter: Meter,
        sink: Sink,
        model_endpoints: Collection[str] = (),
        options: WebOptions = _DEFAULT,
    ) -> None:
        self._app = app
        self._meter = meter
        self._sink = sink
        self._model_endpoints = set(model_endpoints)
        self._options = options
        self._path = options.metrics_path
        self.page = Page(meter, joins=options.joins_pages)
        self._routed = with_routes(options.watched or app)
        self._root_path = str(
            getattr(self._routed, "root_path", None) or ""
        )  # FastAPI(root_path=…)
        self._routes = Routes()
        self._guard = Guard("asgi", meter.probe_failed)
        self._counts = RequestCounts(meter)
        self._in_progress = 0
        # Read at each scrape: a plain number is cheaper to change than a gauge with a lock.
        meter.child(HTTP_IN_PROGRESS).set_function(lambda: self._in_progress)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP is measured."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].rstrip("/").endswith(self._path) and self._is_metrics(scope):
            await self._expose(scope, send)
            return
        # One function on purpose: each additional call or coroutine slows every request.
        request = _Request(receive, send, self)
        # Saved because mounts overwrite both before the route template is looked up.
        app, root_path = scope.get("app", self._routed), self._root_path_of(scope)
        token = CURRENT_REQUEST.set(request)
        self._in_progress += 1
        try:
            await self._app(scope, request.receive, request.send)
        except BaseException as error:
            request.raised(error)
            raise
        finally:
            CURRENT_REQUEST.reset(token)
            if not request.ended:
                self._in_progress -= 1
            try:
                self._count(scope, app, root_path, request)
            except Exception as error:  # noqa: BLE001 - a failure here must not fail the request
                self._guard.report(error)

    def _count(self, scope: Scope, app: WebApp, root_path: str, request: "_Request") -> None:
        seconds = (request.ended or perf_counter()) - request.started
        if request.left or not request.ended:
            request.interrupted()
        if self._options.failed is not None and request.declared is None:
            request.declared = judged(self._options.failed, request.response(), request.known_error)
        status, error = outcome(request.status, request.error, request.declared)
        handler = self._routes.template(scope, app, root_path)
        trace_id = request.trace_id or trace_id_of(scope["headers"])
        key = (handler, scope["method"], status)
        self._counts.count(key, seconds, request.received_bytes, request.sent_bytes, trace_id)
        if request.is_model_request or (
            handler in self._model_endpoints and status != _METHOD_NOT_ALLOWED
        ):
            self._model_endpoints.add(handler)
            exchange = request.exchange
            exchange.trace_id = trace_id
            if request.declared is not None:
                exchange.error = request.declared
            error = error or reason_of_status(status)
            self._sink(finish(exchange, handler, status, error, ended=request.ended or None))

    async def _expose(self, scope: Scope, send: Send) -> None:
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        own = await asgi_page(self._app, scope) if self._options.joins_pages else None
        if isinstance(own, Refusal):
            await answer(send, int(own.status), own.headers, own.body)
            return
        # In a thread: the exposition takes milliseconds that would block other requests. In a
        # thread of its own: model calls may hold all threads of the default executor for minutes.
        with ThreadPoolExecutor(1, "safelight-metrics") as thread:
            exposition = await asyncio.get_running_loop().run_in_executor(
                thread, self.page.write, accept.decode("latin-1"), own
            )
        headers = [
            (b"content-type", exposition.content_type.encode()),
            (b"content-length", str(len(exposition.body)).encode()),
        ]
        await answer(send, 200, headers, exposition.body)

    def _root_path_of(self, scope: Scope) -> str:
        return self._root_path or scope.get("root_path", "")

    def _is_metrics(self, scope: Scope) -> bool:
        """Return True for `/metrics` of this application, wherever it is mounted."""
        paths = (self._path, self._root_path_of(scope) + self._path)
        return scope["path"].rstrip("/") in paths and scope["method"] in ("GET", "HEAD")


class _Request:
    """One running request: counts the bytes of both directions."""

    # On the class: then a new object sets few attributes.
    status = 0
    received_bytes = 0
    sent_bytes = 0
    ended = 0.0
    left = False
    error: str | None = None
    declared: str | None = None
    trace_id: str | None = None
    _exchange: Exchange | None = None
    _start: Message | None = None
    _body: bytes | None = b""

    def __init__(self, receive: Receive, send: Send, probe: AsgiProbe) -> None:
        self.started = perf_counter()
        self.outer = enclosing_request()
        self._receive = receive
        self._send = send
        self._probe = probe

    @property
    def owner(self) -> object:
        return self._probe._meter  # noqa: SLF001 - one class in two parts

    @property
    def exchange(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(Timeline(self.started))
        return self._exchange

    @property
    def known_error(self) -> str:
        return NO_ERROR if self._exchange is None else self._exchange.error

    @property
    def is_over(self) -> bool:
        return bool(self.ended)

    @property
    def is_model_request(self) -> bool:
        exchange = self._exchange
        if exchange is None:
            return False
        # A request that failed while its model was running, for example by a timeout.
        return exchange.is_model_request or (exchange.calls_running > 0 and self.status >= 400)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left = self.left or not self.ended
        else:
            self.received_bytes += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine: to return the server's own awaitable is cheaper.
        if self.status:
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body") and not self.ended:
                self.ended = perf_counter()  # background tasks may follow; no caller waits for them
                self._probe._in_progress -= 1  # noqa: SLF001
                self.left = self.left or _caller_left(self._receive)
            if self._start is not None:
                self._keep(message.get("body", b""))
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            # Here, because an inner tracing middleware closes its span before the end.
            self.trace_id = current_trace_id()
            if self._probe._options.failed is not None:  # noqa: SLF001
                self._start = message
        return self._send(message)

    def raised(self, error: BaseException) -> None:
        """Note the exception that left the application."""
        if self.ended and self.status < 400:
            return  # of a background task: the caller has what was asked for
        self.error = reason_of_exception(error)
        if not self.ended:  # else the caller has a whole response, from an exception handler
            self.status = 499 if self.error == "cancelled" else 500

    def interrupted(self) -> None:
        """Note that the response did not reach its end, or that nobody received it."""
        if self.error is not None and not self.left and not self.ended:
            return  # an exception of the application, which is the better reason
        if self.left or self.status:
            self.status, self.error = 499, "cancelled"
        else:
            self.status, self.error = 500, "internal_error"  # it returned without a response

    def response(self) -> Response:
        """Return the response as its caller received it."""
        pairs = self._start.get("headers", ()) if self._start is not None else ()
        headers = {bytes(k).lower().decode("latin-1"): bytes(v).decode("latin-1") for k, v in pairs}
        return Response(self.status, headers, self._body)

    def _keep(self, part: bytes) -> None:
        if self._body is not None:
            body = self._body + part
            self._body = body if len(body) <= BODY_LIMIT_BYTES else None


class AppProbe:
    """Watches an ASGI application object, and stops at `unwatch`.

    The probe is the outermost layer, whatever middleware or exception handler the application
    adds later.
    """

    def __init__(self, app: WebApp, **arguments: Any) -> None:
        if probe_of(app) is not None:
            raise AlreadyWatched("application")
        self._app = app
        self.meter: Meter = arguments["meter"]
        self.sink: Sink = arguments["sink"]
        options = replace(arguments.pop("options", _DEFAULT), watched=app)
        call = type(app).__call__.__get__(app)
        # A bound method in the class: Python calls it without adding the application.
        probe = AsgiProbe(call, options=options, **arguments)
        self.page = probe.page
        self._original = disguise(app, self, {"__call__": probe.__call__})

    def unwatch(self) -> None:
        """Remove the probe; a second call does nothing."""
        reveal(self._app, self, self._original)


def is_asgi(app: WebApp) -> bool:
    """Return True for an object of an ASGI application class."""
    return inspect.iscoroutinefunction(type(app).__call__ if callable(app) else None)


def _caller_left(receive: Receive) -> bool:
    """Return True if the server knows that the caller disconnected. uvicorn does not say it."""
    return bool(getattr(getattr(receive, "__self__", None), "disconnected", False))
