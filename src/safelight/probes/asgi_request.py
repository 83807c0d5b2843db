"""One running request of an ASGI application: the messages that pass through."""

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from sys import modules
from time import perf_counter

from safelight.libraries import Message
from safelight.metrics.series import VALUE, Series
from safelight.probes.declare import BODY_LIMIT_BYTES, Response
from safelight.probes.heartbeat import Heartbeat
from safelight.probes.lifespan import Receive, Send
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.telemetry.record import Exchange
from safelight.telemetry.scope import CURRENT_REQUEST, RequestScope, enclosing_request
from safelight.telemetry.timeline import Timeline
from safelight.telemetry.trace_context import SDK, TraceContext, current_trace


@dataclass(frozen=True, slots=True)
class Shared:
    """What all requests of a probe use. `owner` identifies its watch."""

    owner: object
    heartbeat: Heartbeat
    in_progress: Series


class AsgiRequest:
    """One running request of an AsgiProbe."""

    # On the class: then a new object sets few attributes.
    status = 0
    received_bytes = 0
    sent_bytes = 0
    ended = 0.0
    left = False
    outer: RequestScope | None = None
    error: str | None = None
    declared: str | None = None
    trace: TraceContext | None = None
    _exchange: Exchange | None = None

    def __init__(self, receive: Receive, send: Send, shared: Shared) -> None:
        self.started = perf_counter()
        if CURRENT_REQUEST.get() is not None:
            self.outer = enclosing_request()
        self.server_receive = receive
        self._send = send
        self._shared = shared
        if self.started > shared.heartbeat.due:
            shared.heartbeat.start()

    @property
    def owner(self) -> object:
        return self._shared.owner

    @property
    def exchange(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(Timeline(self.started))
        return self._exchange

    @property
    def known_error(self) -> str:
        return NO_ERROR if self._exchange is None else self._exchange.error

    @property
    def caller_left(self) -> bool:
        """Return True if the caller disconnected before the end of the response."""
        server = getattr(self.server_receive, "__self__", None)
        # uvicorn ignores what is sent to a caller who left, but it knows that they did.
        return self.left or bool(getattr(server, "disconnected", False))

    @property
    def is_simple(self) -> bool:
        """Return True if there is nothing to know of the request but its status, time and size."""
        # The last two lines are `caller_left`: its call would slow every request.
        return (
            self.ended > 0
            and self._exchange is None
            and self.error is None
            and self.declared is None
            and self.trace is None
            and not self.left
            and not getattr(getattr(self.server_receive, "__self__", None), "disconnected", False)
        )

    @property
    def is_over(self) -> bool:
        return bool(self.ended)

    def reached_model(self, status: int) -> bool:
        """Return True if it called a model, or failed with `status` while the model was running."""
        exchange = self._exchange
        if exchange is None:
            return False
        return exchange.is_model_request or (exchange.calls_running > 0 and status >= 400)

    async def receive(self) -> Message:
        message = await self.server_receive()
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
                self._shared.in_progress.cells[VALUE] -= 1
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            # Here, because an inner tracing middleware closes its span before the end.
            if SDK in modules:
                self.trace = current_trace()
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
        left = self.caller_left
        if self.error is not None and not left and not self.ended:
            return  # an exception of the application, which is the better reason
        if left or self.status:
            self.status, self.error = 499, "cancelled"
        else:
            self.status, self.error = 500, "internal_error"  # it returned without a response


class JudgedRequest(AsgiRequest):
    """A request whose response `watch(failed=…)` judges: it also keeps the response."""

    is_simple = False  # the response decides
    _headers: Collection[tuple[bytes, bytes]] = ()
    _body: bytes | None = b""

    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self._headers = message.get("headers", ())
        elif self._body is not None:
            body = self._body + message.get("body", b"")
            self._body = body if len(body) <= BODY_LIMIT_BYTES else None
        return super().send(message)

    def response(self) -> Response:
        """Return the response as its caller received it."""
        pairs = ((bytes(k).lower(), bytes(v)) for k, v in self._headers)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        return Response(self.status, headers, self._body)
