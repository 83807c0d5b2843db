"""Measure a Flask application and serve `/metrics` in front of it.

The probe wraps the WSGI callable. It reads no body: it counts the bytes that pass through.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIEnvironment

from safelight.errors import AlreadyWatched
from safelight.libraries import WebApp
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.request_counts import RequestCounts
from safelight.reasons import reason_of_exception, reason_of_status
from safelight.telemetry.record import CURRENT_REQUEST, Exchange, Sink, finish
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.traces import current_trace_id, trace_id_of

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

METRICS_PATH = "/metrics"
_HANDLER = "safelight.handler"


class FlaskProbe:
    """Wraps the WSGI callable of a Flask application; `unwatch` removes the wrapper.

    `model_endpoints` are routes whose requests always count as model requests, also if they fail
    before the model. A route that calls a pipeline is added automatically.
    """

    def __init__(
        self, app: WebApp, *, meter: Meter, sink: Sink, model_endpoints: Collection[str] = ()
    ) -> None:
        if isinstance(getattr(app.wsgi_app, "__self__", None), FlaskProbe):
            raise AlreadyWatched("application")
        self._app = app
        self._meter = meter
        self._sink = sink
        self._model_endpoints = set(model_endpoints)
        self._counts = RequestCounts(meter)
        self._guard = Guard("flask", meter.probe_failed)
        self._original = app.wsgi_app
        app.wsgi_app = self._serve
        # Not app.before_request: Flask refuses it after the first request.
        app.before_request_funcs.setdefault(None, []).insert(0, self._note_route)

    def unwatch(self) -> None:
        """Remove the probe; a second call does nothing."""
        hooks = self._app.before_request_funcs.get(None, [])
        if self._note_route in hooks:
            hooks.remove(self._note_route)
            self._app.wsgi_app = self._original

    def _note_route(self) -> None:
        from flask import request

        request.environ[_HANDLER] = request.url_rule.rule if request.url_rule else "none"

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._meter.membership.address:
            self._meter.membership.serve_at((environ["SERVER_NAME"], environ["SERVER_PORT"]))
        if environ.get("PATH_INFO") == METRICS_PATH:
            return self._expose(environ, start_response)
        return self._measure(environ, start_response)

    def _measure(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _Request(environ, start_response, self._close)
        token = CURRENT_REQUEST.set(request)
        self._meter.add(HTTP_IN_PROGRESS)
        try:
            request.chunks = self._original(environ, request.start_response)
        except BaseException as error:
            request.error = reason_of_exception(error)
            request.close()
            raise
        finally:
            CURRENT_REQUEST.reset(token)
        return request

    def _close(self, request: "_Request") -> None:
        self._meter.add(HTTP_IN_PROGRESS, amount=-1)
        with self._guard:
            self._count(request)

    def _count(self, request: "_Request") -> None:
        seconds = perf_counter() - request.started
        handler, method = request.environ.get(_HANDLER, "none"), request.environ["REQUEST_METHOD"]
        self._counts.count(
            (handler, method, request.status),
            seconds,
            request.received_bytes,
            request.sent_bytes,
            request.trace_id,
        )
        exchange = request.exchange
        if exchange.is_model_request or handler in self._model_endpoints:
            self._model_endpoints.add(handler)
            exchange.trace_id = request.trace_id
            error = request.error or reason_of_status(request.status)
            self._sink(finish(exchange, handler, request.status, error))

    def _expose(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exposition = self._meter.expose(environ.get("HTTP_ACCEPT", ""))
        headers = [
            ("Content-Type", exposition.content_type),
            ("Content-Length", str(len(exposition.body))),
        ]
        start_response("200 OK", headers)
        return [exposition.body]


class _Request:
    """One running request: an iterable of the response's chunks that counts their bytes."""

    def __init__(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        on_close: Callable[["_Request"], None],
    ) -> None:
        self.started = perf_counter()
        self.exchange = Exchange(Timeline(self.started))
        self.environ = environ
        self.chunks: Iterable[bytes] = ()
        self.status = 500
        self.error: str | None = None
        self.received_bytes = 0
        self.sent_bytes = 0
        environ["wsgi.input"] = _Counted(environ["wsgi.input"], self)
        traceparent = environ.get("HTTP_TRACEPARENT", "").encode("latin-1")
        self.trace_id = trace_id_of([(b"traceparent", traceparent)])
        self._start_response = start_response
        self._on_close = on_close
        self._closed = False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
    ) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        self.trace_id = current_trace_id() or self.trace_id
        return self._start_response(status, headers, exc_info)

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self.chunks)
        while (chunk := self._next(chunks)) is not None:
            self.sent_bytes += len(chunk)
            yield chunk

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        # A streamed response may call the pipeline, and may fail.
        token = CURRENT_REQUEST.set(self)
        try:
            return next(chunks, None)
        except BaseException as error:
            self.error = reason_of_exception(error)
            raise
        finally:
            CURRENT_REQUEST.reset(token)

    def close(self) -> None:
        """Finish the request; WSGI servers also call this if the client disconnects."""
        if self._closed:
            return
        self._closed = True
        try:
            close = getattr(self.chunks, "close", None)
            if close is not None:
                close()
        finally:
            self._on_close(self)


class _Counted:
    """A request's body that counts the bytes that the application reads."""

    def __init__(self, body: Any, request: _Request) -> None:
        self._body = body
        self._request = request

    def read(self, *size: int) -> bytes:
        return self._count(self._body.read(*size))

    def readinto(self, buffer: Any) -> int | None:
        read: int | None = self._body.readinto(buffer)
        self._request.received_bytes += read or 0
        return read

    def readline(self, *size: int) -> bytes:
        return self._count(self._body.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._count(line) for line in self._body.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._count, self._body)

    def __getattr__(self, name: str) -> object:
        return getattr(self._body, name)

    def _count(self, chunk: bytes) -> bytes:
        self._request.received_bytes += len(chunk)
        return chunk
