"""uvicorn's HTTP protocol, with bounds on what one connection sends and on how long it takes."""

from asyncio import BaseTransport, Transport
from typing import cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from safelight.errors import BadInput
from safelight.http_server.connections import FULL, Connections, response
from safelight.http_server.cycle import Cycle
from safelight.http_server.uploads import ARRIVED

_ANSWERS = {  # status, message
    "headers": (
        "431 Request Header Fields Too Large",
        "The headers are too large or too many. Send fewer or shorter ones.",
    ),
    "slow": (
        "408 Request Timeout",
        "The request did not arrive in time. Send it again without pauses.",
    ),
    "malformed": ("400 Bad Request", "This is not a valid HTTP/1.1 request."),
    "pieces": ("400 Bad Request", "The body comes in pieces of a few bytes. Send larger chunks."),
}
_COUNTED = {"silent": "slow", "pieces": "malformed"}  # as in the metric, if not by the same name
# Each piece of a body costs time, however small it is: the first are free, then they have a size.
_FREE_PIECES, _PIECE_BYTES = 1000, 256


class Connection(HttpToolsProtocol):
    """One connection. `of` makes the class for one server, and uvicorn makes the instances."""

    places: Connections
    _header_limit: int
    _header_limit_bytes: int
    heard_at = 0.0
    _idle_since: float | None = None  # when the last response was sent
    _head_since: float | None = None  # when the wait for headers began
    _in_head = False
    _fault = "malformed"
    _moved = False  # whether a packet completed headers or had a piece of a body
    _overhead_bytes = 0  # received since the last such packet, and in this one
    _pieces = _body_bytes = 0  # of the present request
    _unsent_bytes = 0
    _unsent_since = 0.0

    @classmethod
    def of(cls, places: Connections) -> "type[Connection]":
        """Return the class of the connections of one server."""
        settings = places.settings
        limits = {
            "_header_limit": settings.header_limit,
            "_header_limit_bytes": settings.header_limit_bytes,
        }
        return type(cls.__name__, (cls,), {"places": places, **limits})

    def connection_made(self, transport: BaseTransport) -> None:
        """Wait for the headers of the first request."""
        made = cast("Transport", transport)
        super().connection_made(made)
        made.set_write_buffer_limits(high=self.places.settings.write_buffer_bytes)
        self._head_since = self.heard_at = self.places.clock()
        self.places.ready(self.client, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what the caller sent: the rest is a cycle until a garbage collection."""
        super().connection_lost(exc)
        self.headers, self.url = [], b""

    @property
    def waits(self) -> bool:
        """Whether the server waits for the caller, not the caller for the server."""
        current = self._current()
        return current is None or current.response_complete or current.more_body

    def data_received(self, data: bytes) -> None:
        """Read a packet."""
        self.heard_at, self._idle_since = self.places.clock(), None
        current = self._current()
        if self._head_since is None and (current is None or current.response_complete):
            self._head_since = self.heard_at
        self._moved = False
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._moved:
            self._overhead_bytes = 0
        elif self._overhead_bytes > self._header_limit_bytes:
            self._refuse("headers")

    def on_message_begin(self) -> None:
        """Begin a request, maybe behind others."""
        super().on_message_begin()
        self._head_since, self._in_head = self.heard_at, True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header, or a trailer of a chunked body. Raises HttpParserError after too many."""
        if len(self.headers) >= self._header_limit:
            self._fault = "headers"
            raise httptools.HttpParserError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start a request. Raises HttpParserError if its headers or the pipeline are too long."""
        self._head_since, self._in_head, self._moved = None, False, True
        self._pieces = self._body_bytes = 0
        # Headers are part of what was received, and most packets are smaller than the limit.
        is_large = self._overhead_bytes > self._header_limit_bytes
        if is_large and _length(self.url, self.headers) > self._header_limit_bytes:
            self._fault = "headers"
            raise httptools.HttpParserError
        if len(self.pipeline) >= self.places.settings.pipeline_limit:
            self._fault = "pipelined"
            raise httptools.HttpParserError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read a piece of a body. Raises HttpParserError if there are many small ones."""
        self._moved = True
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > _FREE_PIECES + self._body_bytes / _PIECE_BYTES:
            self._fault = "pieces"
            raise httptools.HttpParserError
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Tell the application that it need not wait for the body."""
        super().on_message_complete()
        if not self.cycle.more_body:
            # No reference to the cycle: only a garbage collection would free both.
            self.cycle.scope["extensions"] = {ARRIVED: {"bytes": len(self.cycle.body)}}

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text
        """Refuse what the parser or `on_headers_complete` refused."""
        self._refuse(self._fault)

    def on_response_complete(self) -> None:
        """Go on with the next request. `sweep` closes idle connections: no timer for each."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.places.clock()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.__class__ = Cycle  # uvicorn has no option for the class
        super()._start_asgi_task(cycle, app)

    def close_if_slow(self, now: float) -> None:
        """Close the connection if its caller sends or reads nothing for too long."""
        settings = self.places.settings
        if self._unread_seconds(now) > settings.client_idle_seconds:
            self._refuse("unread")
        elif self._idle_since is not None and now - self._idle_since > settings.keep_alive_seconds:
            self.transport.close()
        elif self._head_since is not None and now - self._head_since > settings.header_seconds:
            self._refuse("slow" if self._in_head else "silent")
        elif self._owes_body() and now - self.heard_at > settings.client_idle_seconds:
            self._refuse("slow")

    def make_room(self) -> None:
        """Close the connection at once, for another one; say why before its first request."""
        if self._current() is None:
            self.transport.write(FULL)
        self.transport.abort()

    def _current(self) -> RequestResponseCycle | None:
        """Return the last request whose headers are complete."""
        return self.cycle

    def _owes_body(self) -> bool:
        """Return whether the caller owes the rest of a body that the service reads."""
        current = self._current()
        is_open = current is not None and current.more_body and not current.response_complete
        return is_open and not self.flow.read_paused

    def _unread_seconds(self, now: float) -> float:
        """Return for how long the caller has read nothing of what waits for it."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent_bytes:
            self._unsent_bytes, self._unsent_since = unsent, now
        return now - self._unsent_since

    def _refuse(self, reason: str) -> None:
        """Close the connection; say why, unless another response is on its way."""
        self.places.count(_COUNTED.get(reason, reason))
        current = self._current()
        is_busy = current is not None and current.response_started and not current.response_complete
        unsent = self.transport.get_write_buffer_size()
        if reason not in _ANSWERS or is_busy or self.pipeline or unsent:
            self.transport.abort()
            return
        status, detail = _ANSWERS[reason]
        self.transport.write(response(status, BadInput.reason, detail))
        self.transport.close()


def _length(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)
