"""Send kept traces: to a receiver through a process of its own, or with an application's tracer."""

import logging
import os
import socket
from dataclasses import replace

import msgspec
import structlog

from safelight.metrics.catalog import TRACES
from safelight.metrics.registry import Meter
from safelight.settings import Settings
from safelight.telemetry.helper import HelperProcess
from safelight.telemetry.record import Record
from safelight.telemetry.resource import service_attributes
from safelight.telemetry.spans import spans_of

_CHILD = "safelight.telemetry.trace_child"
_CALL_SECONDS = 20.0  # longer than the exporter tries

Ended = tuple[Record, int]  # a Record, and the Unix time in nanoseconds at which its request ended
log = structlog.wrap_logger(logging.getLogger("safelight"))  # a watched service's own handlers


class Target(msgspec.Struct, frozen=True):
    """Where traces go: the first message to the process. `resource` describes the service."""

    endpoint: str
    protocol: str
    resource: dict[str, str]
    model: str = ""


class Send(msgspec.Struct, frozen=True):
    """Send the traces of requests, each an encoded `Ended`.

    `is_last` is True if no other waits, `is_end` at the end.
    """

    ended: list[msgspec.Raw]
    is_last: bool = False
    is_end: bool = False


class Sent(msgspec.Struct, frozen=True):
    """The reply: how many traces are lost, and why the receiver did not take them.

    `batches` is the number of batches that wait for more of their requests.
    """

    lost: int
    complaint: str = ""
    batches: int = 0


class TraceSender:
    """Sends traces and counts them. For one thread; only `kill` is for any."""

    def __init__(self, settings: Settings, meter: Meter, model: str = "") -> None:
        self._settings = settings
        self._model = model
        self._meter = meter
        self._helper: HelperProcess | None = None
        self._is_failing = self._is_killed = False
        self._batches = 0

    def send(self, ended: list[Ended], *, is_last: bool, is_end: bool = False) -> None:
        """Send the traces of some requests."""
        waiting = [self._encoded(*each) for each in ended if not _is_local(each[0])]
        for record, at in ended:
            if _is_local(record):
                self._send_through_provider(record, at)
        own = [each for each in waiting if each is not None]
        self._meter.add(TRACES, "lost", amount=len(waiting) - len(own))
        if own or (self._batches and is_last):
            self._count(len(own), self._ask(Send(own, is_last, is_end)))

    def close(self) -> None:
        """End the process."""
        if self._helper is not None:
            self._helper.close()
        self._is_killed = False

    def kill(self) -> None:
        """End the process at once, and what it is sending."""
        self._is_killed = True
        if self._helper is not None:
            self._helper.kill()

    def after_fork(self) -> None:
        """Use a process of its own: this is another instance of the service."""
        self._helper, self._batches = None, 0

    def _encoded(self, record: Record, at: int) -> msgspec.Raw | None:
        """Return a message without what no span has: the prompt, and whose request it was."""
        plain = replace(record, facts=replace(record.facts, prompt=None, owner=""))
        try:
            return msgspec.Raw(msgspec.msgpack.encode((plain, at)))
        except (OverflowError, UnicodeEncodeError):  # a watched service's callers can send both
            return None

    def _ask(self, call: Send) -> Sent:
        if self._helper is None:
            target = msgspec.msgpack.encode(self._target())
            self._helper = HelperProcess(_CHILD, target, _CALL_SECONDS)
        for is_last_try in (False, True):
            try:
                reply = self._helper.ask(msgspec.msgpack.encode(call))
                return msgspec.msgpack.decode(reply, type=Sent)
            except Exception as error:  # noqa: BLE001 - no trace may end the thread
                self._helper.kill()
                self._helper.close()
                is_gone = isinstance(error, EOFError | ConnectionError)
                if is_last_try or self._is_killed or not is_gone:
                    return Sent(len(call.ended), f"the process failed ({type(error).__name__})")
        raise AssertionError("one of two tries returns")  # pragma: no cover

    def _send_through_provider(self, record: Record, ended: int) -> None:
        """Make the spans of a request with the application's tracer, which may fail."""
        from safelight.telemetry.otlp import send_through_provider

        assert record.facts.trace is not None
        try:
            send_through_provider(spans_of(record, ended, self._model), record.facts.trace)
        except Exception as error:  # noqa: BLE001 - no tracer may end the thread
            self._count(1, Sent(1, f"the application's tracer failed ({type(error).__name__})"))
        else:
            self._meter.add(TRACES, "sent")

    def _target(self) -> Target:
        instance = f"{socket.gethostname()}:{os.getpid()}"
        resource = service_attributes(self._settings.namespace, instance)
        return Target(
            self._settings.otlp_endpoint, self._settings.otlp_protocol, resource, self._model
        )

    def _count(self, number: int, sent: Sent) -> None:
        self._batches = sent.batches
        self._meter.add(TRACES, "sent", amount=number - sent.lost)
        self._meter.add(TRACES, "lost", amount=sent.lost)
        if number and bool(sent.complaint) != self._is_failing:
            self._is_failing = bool(sent.complaint)
            if self._is_failing:
                log.warning("traces cannot be sent", **{"error.message": sent.complaint})
            else:
                log.info("traces are sent again")


def _is_local(record: Record) -> bool:
    """Return whether a request belongs to a span of this process."""
    return record.facts.trace is not None and record.facts.trace.is_local
