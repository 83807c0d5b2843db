"""Measures a Flask application, and answers `/metrics` in front of it.

Wraps the application's WSGI callable: it reads no body; it counts what passes by.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from time import perf_counter
from typing import Any

from safelight.errors import AlreadyWatched
from safelight.metrics.catalog import HTTP_IN_PROGRESS
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.request_counts import Tallies
from safelight.reasons import reason_of_exception, reason_of_status
from safelight.telemetry.record import CURRENT_PASSAGE, Exchange, Sink, finish
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.traces import current_trace_id, trace_id_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

METRICS_PATH = "/metrics"
_HANDLER = "safelight.handler"


class FlaskProbe:
    """Wraps a Flask application in place; `unwatch` takes the wrapper off.

    `model_endpoints` are routes whose failures before the model count as the model's requests from
    the start; every route seen to call a pipeline joins them by itself.
    """

    def __init__(
        self, app: Any, *, meter: Meter, sink: Sink, model_endpoints: Collection[str] = ()
    ) -> None:
        if isinstance(getattr(app.wsgi_app, "__self__", None), FlaskProbe):
            raise AlreadyWatched("application")
        self._app = app
        self._meter = meter
        self._sink = sink
        self._model_endpoints = set(model_endpoints)
        self._tallies = Tallies(meter)
        self._guard = Guard("flask", meter.probe_failed)
        self._original = app.wsgi_app
        app.wsgi_app = self._serve
        # Not app.before_request: Flask refuses it once the first request was served.
        app.before_request_funcs.setdefault(None, []).insert(0, self._note_route)

    def unwatch(self) -> None:
        """Take the probe off; a second call does nothing."""
        hooks = self._app.before_request_funcs.get(None, [])
        if self._note_route in hooks:
            hooks.remove(self._note_route)
            self._app.wsgi_app = self._original

    def _note_route(self) -> None:
        from flask import request

        request.environ[_HANDLER] = request.url_rule.rule if request.url_rule else "none"

    def _serve(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == METRICS_PATH:
            return self._expose(environ, start_response)
        return self._measure(environ, start_response)

    def _measure(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        passage = _Passage(environ, start_response, self._close)
        token = CURRENT_PASSAGE.set(passage)
        self._meter.add(HTTP_IN_PROGRESS)
        try:
            passage.chunks = self._original(environ, passage.start_response)
        except BaseException as error:
            passage.error = reason_of_exception(error)
            passage.close()
            raise
        finally:
            CURRENT_PASSAGE.reset(token)
        return passage

    def _close(self, passage: "_Passage") -> None:
        self._meter.add(HTTP_IN_PROGRESS, amount=-1)
        with self._guard:
            self._count(passage)

    def _count(self, passage: "_Passage") -> None:
        seconds = perf_counter() - passage.started
        handler, method = passage.environ.get(_HANDLER, "none"), passage.environ["REQUEST_METHOD"]
        self._tallies.count(
            (handler, method, passage.status),
            seconds,
            passage.received_bytes,
            passage.sent_bytes,
            passage.trace_id,
        )
        exchange = passage.exchange
        if exchange.is_model_request or handler in self._model_endpoints:
            self._model_endpoints.add(handler)
            exchange.trace_id = passage.trace_id
            error = passage.error or reason_of_status(passage.status)
            self._sink(finish(exchange, handler, passage.status, error))

    def _expose(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._meter.expose(environ.get("HTTP_ACCEPT", ""))
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        start_response("200 OK", headers)
        return [answer.body]


class _Passage:
    """One request on its way through: the answer's chunks, counted as the server takes them."""

    def __init__(
        self,
        environ: Environ,
        start_response: StartResponse,
        on_close: Callable[["_Passage"], None],
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

    def start_response(self, status: str, headers: Any, *more: Any) -> Any:
        self.status = int(status[:3])
        self.trace_id = current_trace_id() or self.trace_id
        return self._start_response(status, headers, *more)

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self.chunks)
        while (chunk := self._next(chunks)) is not None:
            self.sent_bytes += len(chunk)
            yield chunk

    def _next(self, chunks: Iterator[bytes]) -> bytes | None:
        # An answer made while it is sent may call the pipeline, and may break off.
        token = CURRENT_PASSAGE.set(self)
        try:
            return next(chunks, None)
        except BaseException as error:
            self.error = reason_of_exception(error)
            raise
        finally:
            CURRENT_PASSAGE.reset(token)

    def close(self) -> None:
        """Finish the request; WSGI servers call this once, also when the client left."""
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
    """A request's body: counts what the application reads of it."""

    def __init__(self, body: Any, passage: _Passage) -> None:
        self._body = body
        self._passage = passage

    def read(self, *size: int) -> bytes:
        return self._count(self._body.read(*size))

    def readinto(self, buffer: Any) -> int | None:
        read: int | None = self._body.readinto(buffer)
        self._passage.received_bytes += read or 0
        return read

    def readline(self, *size: int) -> bytes:
        return self._count(self._body.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._count(line) for line in self._body.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._count, self._body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def _count(self, piece: bytes) -> bytes:
        self._passage.received_bytes += len(piece)
        return piece
