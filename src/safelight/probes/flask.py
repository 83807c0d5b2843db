"""Measure a Flask application (or another WSGI object) and serve `/metrics` in front of it.

The probe wraps the WSGI callable. It reads no body: it counts the bytes that pass through.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sized
from time import perf_counter
from typing import TYPE_CHECKING, cast
from wsgiref.types import StartResponse, WSGIEnvironment

from safelight.errors import AlreadyWatched
from safelight.libraries import WebApp
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.page import Page
from safelight.metrics.registry import Meter
from safelight.probes.counted_body import CountedBody
from safelight.probes.declare import BODY_LIMIT_BYTES, Response, outcome, verdict
from safelight.probes.disguise import disguise, probe_of, reveal
from safelight.probes.guard import Guard
from safelight.probes.options import WebOptions
from safelight.probes.own_page import Refusal, wsgi_page
from safelight.probes.request_counts import RequestCounts
from safelight.reasons import reason_of_exception, reason_of_status
from safelight.telemetry.record import Exchange, Sink, finish
from safelight.telemetry.scope import CURRENT_REQUEST, enclosing_request
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.trace_context import TraceContext, current_trace, sampled_id, trace_of

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

_HANDLER = "safelight.handler"
_DEFAULT = WebOptions(joins_pages=True)


class FlaskProbe:
    """Watches a Flask application or another WSGI object; `unwatch` stops it.

    `model_endpoints` are routes whose requests always count as model requests, also if they fail
    before the model. A route that calls a model is added automatically.
    """

    def __init__(
        self,
        app: WebApp,
        *,
        meter: Meter,
        sink: Sink,
        model_endpoints: Collection[str] = (),
        options: WebOptions = _DEFAULT,
    ) -> None:
        if probe_of(app) is not None:
            raise AlreadyWatched("application")
        self._app = app
        self.meter = meter
        self.sink = sink
        self._model_endpoints = set(model_endpoints)
        self._options = options
        self.page = Page(meter, joins=options.joins_pages)
        self._counts = RequestCounts(meter)
        self._guard = Guard("flask", meter.probe_failed)
        self._call = type(app).__call__.__get__(app)
        meter.add(HTTP_IN_PROGRESS, amount=0)
        meter.membership.join(Guard("processes", meter.probe_failed))
        # A bound method in the class: Python calls it without adding the application.
        self._original = disguise(app, self, {"__call__": self._serve})
        # Not app.before_request: Flask refuses it after the first request.
        if hasattr(app, "before_request_funcs"):
            app.before_request_funcs.setdefault(None, []).insert(0, _note_route)

    def unwatch(self) -> None:
        """Remove the probe; a second call does nothing."""
        reveal(self._app, self, self._original)
        hooks = getattr(self._app, "before_request_funcs", {})
        if _note_route in hooks.get(None, ()):
            hooks[None].remove(_note_route)
            if not hooks[None]:
                del hooks[None]

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self.meter.membership.address:
            self.meter.membership.serve_at((environ["SERVER_NAME"], environ["SERVER_PORT"]))
        is_metrics = environ.get("PATH_INFO", "").rstrip("/") == self._options.metrics_path
        if is_metrics and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self._expose(environ, start_response)
        return self._measure(environ, start_response)

    def _measure(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = _Request(environ, start_response, self)
        token = CURRENT_REQUEST.set(request)
        self.meter.add(HTTP_IN_PROGRESS)
        try:
            request.chunks = self._call(environ, request.start_response)
        except BaseException as error:
            request.raised(error)
            request.close()
            raise
        finally:
            CURRENT_REQUEST.reset(token)
        return _Sized(request) if hasattr(request.chunks, "__len__") else request

    def finish(self, request: "_Request") -> None:
        """Count a request that has ended."""
        self.meter.add(HTTP_IN_PROGRESS, amount=-1)
        with self._guard:
            self._count(request)

    def _count(self, request: "_Request") -> None:
        seconds = perf_counter() - request.started
        if request.declared is None:
            response, known = request.response(), request.exchange.error
            request.declared = verdict(self._options.failed, response, known, self._guard)
        status, error = outcome(request.status, request.error, request.declared)
        handler, method = request.environ.get(_HANDLER, "none"), request.environ["REQUEST_METHOD"]
        key = (handler, method, status)
        measured = seconds, request.received_bytes, request.sent_bytes
        self._counts.count(key, measured, sampled_id(request.trace))
        exchange = request.exchange
        unfinished = exchange.calls_running > 0 and status >= 400
        if exchange.is_model_request or unfinished or handler in self._model_endpoints:
            self._model_endpoints.add(handler)
            exchange.trace = request.trace or trace_of(_trace_headers(request.environ))
            if request.declared is not None:
                exchange.error = request.declared
            error = error or reason_of_status(status)
            self.sink(finish(exchange, handler, status, error, method=method))
        else:
            exchange.is_over = True

    def _expose(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        own = wsgi_page(self._call, environ) if self._options.joins_pages else None
        if isinstance(own, Refusal):
            start_response(own.status, own.headers)
            return [own.body]
        exposition = self.page.write(environ.get("HTTP_ACCEPT", ""), own)
        headers = [
            ("Content-Type", exposition.content_type),
            ("Content-Length", str(len(exposition.body))),
        ]
        start_response("200 OK", headers)
        return [exposition.body]


def _trace_headers(environ: WSGIEnvironment) -> Iterator[tuple[bytes, bytes]]:
    for name in ("traceparent", "tracestate"):
        value = environ.get(f"HTTP_{name.upper()}")
        if value is not None:
            yield name.encode(), value.encode("latin-1")


def _note_route() -> None:
    from flask import request

    request.environ[_HANDLER] = request.url_rule.rule if request.url_rule else "none"


class _Request:
    """One running request: an iterable of the response's chunks that counts their bytes."""

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, probe: FlaskProbe
    ) -> None:
        self.started = perf_counter()
        self.outer = enclosing_request()
        self.exchange = Exchange(Timeline(self.started))
        self.environ = environ
        self.chunks: Iterable[bytes] = ()
        self.status = 500
        self.error: str | None = None
        self.declared: str | None = None
        self.received_bytes = 0
        self.sent_bytes = 0
        environ["wsgi.input"] = CountedBody(environ["wsgi.input"], self)
        self.trace: TraceContext | None = None
        self._start_response = start_response
        self._probe = probe
        self._headers: list[tuple[str, str]] = []
        self._body: bytes | None = b"" if probe._options.failed is not None else None  # noqa: SLF001
        self._exhausted = False
        self._closed = False

    @property
    def owner(self) -> object:
        return self._probe.meter

    @property
    def is_over(self) -> bool:
        return self._closed

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
    ) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        self._headers = headers
        self.trace = current_trace()
        write = self._start_response(status, headers, exc_info)

        def counted(chunk: bytes) -> object:
            self._sent(chunk)
            return write(chunk)

        return counted

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self.chunks)
        while (chunk := self._next(chunks)) is not None:
            self._sent(chunk)
            yield chunk
        self._exhausted = True

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        # A streamed response may call the model, and may fail.
        token = CURRENT_REQUEST.set(self)
        try:
            return next(chunks, None)
        except BaseException as error:
            self.raised(error)
            raise
        finally:
            CURRENT_REQUEST.reset(token)

    def raised(self, error: BaseException) -> None:
        """Note the exception that left the application."""
        left = isinstance(error, GeneratorExit | ConnectionError)
        self.error = "cancelled" if left else reason_of_exception(error)
        self.status = 499 if left else 500

    def response(self) -> Response:
        """Return the response as its caller received it."""
        headers = {name.lower(): value for name, value in self._headers}
        return Response(self.status, headers, self._body)

    def close(self) -> None:
        """Finish the request; WSGI servers also call this if the client disconnects."""
        if self._closed:
            return
        self._closed = True
        if self.error is None and not self._is_whole():
            self.status, self.error = 499, "cancelled"
        try:
            close = getattr(self.chunks, "close", None)
            if close is not None:
                close()
        finally:
            self._probe.finish(self)

    def _is_whole(self) -> bool:
        """Return True if the server took every chunk that the response has."""
        if self._exhausted or self.environ["REQUEST_METHOD"] == "HEAD":
            return True
        headers = {name.lower(): value for name, value in self._headers}
        length = headers.get("content-length")
        return length is not None and length == str(self.sent_bytes)

    def _sent(self, chunk: bytes) -> None:
        self.sent_bytes += len(chunk)
        if self._body is not None:
            body = self._body + chunk
            self._body = body if len(body) <= BODY_LIMIT_BYTES else None


class _Sized:
    """A request whose chunks are a list: of a single one, servers make a `Content-Length`."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._chunks = cast("Sized", request.chunks)
        self.close = request.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._request)

    def __len__(self) -> int:
        return len(self._chunks)
