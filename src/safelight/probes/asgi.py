"""Measure an ASGI application (FastAPI, Starlette) and serve `/metrics` in front of it.

The probe reads no body and starts no task: it counts the messages that pass through.
"""

import asyncio
import inspect
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

from safelight.errors import AlreadyWatched
from safelight.libraries import Scope, WebApp
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.page import Page, Readers
from safelight.metrics.registry import Meter
from safelight.metrics.series import VALUE
from safelight.probes.asgi_request import AsgiRequest, JudgedRequest, Shared
from safelight.probes.declare import outcome, verdict
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.guard import Guard
from safelight.probes.heartbeat import Heartbeat
from safelight.probes.lifespan import App, Receive, Send, pass_on
from safelight.probes.options import WebOptions
from safelight.probes.own_page import Refusal, answer, asgi_page
from safelight.probes.request_counts import Key, KeyCounts, RequestCounts
from safelight.probes.routes import NO_ROUTE, RouteKey, Routes, key_of, with_routes
from safelight.reasons import reason_of_status
from safelight.telemetry.record import Sink, finish
from safelight.telemetry.scope import CURRENT_REQUEST
from safelight.telemetry.trace_context import sampled_id, trace_of

_METHOD_NOT_ALLOWED = 405  # such a request reached no route, so it is not a model request
_MAX_PLAIN = 1000
_REFUSAL_SECONDS = 1.0
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
        self._kind = AsgiRequest if options.failed is None else JudgedRequest
        self._path = options.metrics_path
        self._readers = Readers()
        self.page = Page(meter, joins=options.joins_pages)
        self._routed = with_routes(options.watched or app)
        self._root = str(getattr(self._routed, "root_path", None) or "")  # FastAPI(root_path=…)
        self._routes = Routes()
        self._guard = Guard("asgi", meter.probe_failed)
        self._counts = RequestCounts(meter)
        # Routes, methods and statuses that can be counted later: they have not reached a model.
        self._plain: dict[tuple[int, str, str, int], KeyCounts] = {}
        self.heartbeat = Heartbeat(meter)
        self._in_progress = meter.child(HTTP_IN_PROGRESS)
        self._shared = Shared(meter, self.heartbeat, self._in_progress)
        self._membership = meter.membership
        self._membership.join(Guard("processes", meter.probe_failed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; only HTTP is measured."""
        if scope["type"] != "http":
            if await pass_on(self._app, scope, receive, send):
                self._membership.shut_down()  # here, because uvicorn's workers end by a signal
            return
        if self._path in scope["path"] and self._is_metrics(scope):
            await self._expose(scope, send)
            return
        # One function on purpose: each additional call or coroutine slows every request.
        request = self._kind(receive, send, self._shared)
        # Saved because mounts overwrite it before the route template is looked up.
        root_path = self._root or scope.get("root_path", "")
        token = CURRENT_REQUEST.set(request)
        # Not `inc`: one thread at a time changes it, so it needs no lock.
        self._in_progress.cells[VALUE] += 1
        try:
            await self._app(scope, request.receive, request.send)
        except BaseException as error:
            request.raised(error)
            raise
        finally:
            CURRENT_REQUEST.reset(token)
            if not request.ended:
                self._in_progress.cells[VALUE] -= 1
            try:
                self._count(scope, root_path, request)
            except Exception as error:  # noqa: BLE001 - a failure here must not fail the request
                self._guard.report(error)

    def _count(self, scope: Scope, root_path: str, request: AsgiRequest) -> None:
        counts = self._plain.get(key_of(scope) + (scope["method"], request.status))  # noqa: RUF005
        if counts is None or not request.is_simple:
            self._count_now(scope, root_path, request)
            return
        seconds = request.ended - request.started
        counts.later((seconds, request.received_bytes, request.sent_bytes))

    def _count_now(self, scope: Scope, root_path: str, request: AsgiRequest) -> None:
        seconds = (request.ended or perf_counter()) - request.started
        if not self._membership.address:
            self._membership.serve_at(scope.get("server"))
        if not request.ended or request.caller_left:
            request.interrupted()
        self._judge(request)
        status, error = outcome(request.status, request.error, request.declared)
        handler = self._routes.template(scope, self._routed, root_path)
        key = (handler, scope["method"], status)
        measured = (seconds, request.received_bytes, request.sent_bytes)
        may_wait = not self._membership.is_worker
        self._counts.count(key, measured, sampled_id(request.trace), may_wait=may_wait)
        if request.reached_model(status) or (
            handler in self._model_endpoints and status != _METHOD_NOT_ALLOWED
        ):
            if handler not in self._model_endpoints:
                self._model_endpoints.add(handler)
                self._plain = {k: v for k, v in self._plain.items() if v.handler != handler}
            request.exchange.trace = request.trace or trace_of(scope["headers"])
            self._record(request, key, error)
        elif request.is_simple and self._may_wait(key_of(scope), handler):
            method, status = scope["method"], request.status  # a simple request has no other
            waiting = self._counts.waiting((handler, method, status))
            self._plain[*key_of(scope), method, status] = waiting

    def _judge(self, request: AsgiRequest) -> None:
        if request.declared is None and isinstance(request, JudgedRequest):
            response, known = request.response(), request.known_error
            request.declared = verdict(self._options.failed, response, known, self._guard)

    def _record(self, request: AsgiRequest, key: Key, error: str | None) -> None:
        exchange, (handler, method, status) = request.exchange, key
        if request.declared is not None:
            exchange.error = request.declared
        reason = error or reason_of_status(status)
        ended = request.ended or None
        self._sink(finish(exchange, handler, status, reason, method=method, ended=ended))

    def _may_wait(self, route: RouteKey, handler: str) -> bool:
        """Return True if more such requests can be counted later.

        No other process may read the counts.
        """
        return (
            self._routes.has(route)
            and handler not in (NO_ROUTE, *self._model_endpoints)
            and len(self._plain) < _MAX_PLAIN
            and not self._membership.is_worker
        )

    async def _expose(self, scope: Scope, send: Send) -> None:
        address = (scope.get("client") or ("",))[0]
        if not self._readers.enter(address, is_spent=self.page.is_spent()):
            await asyncio.sleep(_REFUSAL_SECONDS)  # so that no reader asks without a pause
            await answer(send, 503, [(b"content-length", b"0"), (b"retry-after", b"1")], b"")
            return
        try:
            await self._send_page(scope, send)
        finally:
            self._readers.leave(address)

    async def _send_page(self, scope: Scope, send: Send) -> None:
        if not self._membership.address:
            self._membership.serve_at(scope.get("server"))
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        own = await asgi_page(self._app, scope) if self._options.joins_pages else None
        if isinstance(own, Refusal):
            await answer(send, int(own.status), own.headers, own.body)
            return
        formats = accept.decode("latin-1")
        exposition = self.page.kept(formats) if own is None else None
        if exposition is None:
            # In a thread: the exposition takes milliseconds that would block other requests. In one
            # of its own: model calls may hold all threads of the default executor for minutes.
            with ThreadPoolExecutor(1, "safelight-metrics") as thread:
                exposition = await asyncio.get_running_loop().run_in_executor(
                    thread, self.page.write, formats, own
                )
        headers = [
            (b"content-type", exposition.content_type.encode()),
            (b"content-length", str(len(exposition.body)).encode()),
        ]
        await answer(send, 200, headers, exposition.body)

    def stop(self) -> None:
        """End the timer, and count what is pending."""
        self.heartbeat.stop()
        self._counts.flush()

    def _is_metrics(self, scope: Scope) -> bool:
        """Return True for `/metrics` of this application, wherever it is mounted."""
        root_path = self._root or scope.get("root_path", "")
        paths = (self._path, root_path + self._path)
        return scope["path"].rstrip("/") in paths and scope["method"] in ("GET", "HEAD")


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
        self.page, self._probe = probe.page, probe
        self._original = disguise(app, self, {"__call__": probe.__call__})

    def unwatch(self) -> None:
        """Remove the probe; a second call does nothing."""
        reveal(self._app, self, self._original)
        self._probe.stop()


def is_asgi(app: WebApp) -> bool:
    """Return True for an object of an ASGI application class."""
    return inspect.iscoroutinefunction(type(app).__call__ if callable(app) else None)
