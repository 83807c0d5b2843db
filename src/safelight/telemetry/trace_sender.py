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
    """Send the traces of requests. `is_last` is True if no other waits, `is_end` at the end."""

    ended: list[Ended]
    is_last: bool = False
    is_end: bool = False


class Sent(msgspec.Struct, frozen=True):
    """The reply: whether the receiver took them, or why not.

    `batches` is the number of batches that wait for more of their requests.
    """

    has_arrived: bool
    complaint: str = ""
    batches: int = 0


class TraceSender:
    """Sends traces and counts them. For one thread; only `kill` is for any."""

    def __init__(self, settings: Settings, meter: Meter, model: str = "") -> None:
        self._settings = settings
        self._model = model
        self._meter = meter
        self._helper: HelperProcess | None = None
        self._is_failing = False
        self._batches = 0

    def send(self, ended: list[Ended], *, is_last: bool, is_end: bool = False) -> None:
        """Send the traces of some requests."""
        own = [(_without_texts(record), at) for record, at in ended if not _is_local(record)]
        for record, at in ended:
            if _is_local(record):
                _send_through_provider(record, at, self._model)
        if own or (self._batches and is_last):
            self._count(len(own), self._ask(Send(own, is_last, is_end)))

    def close(self) -> None:
        """End the process."""
        if self._helper is not None:
            self._helper.close()

    def kill(self) -> None:
        """End the process at once, and what it is sending."""
        if self._helper is not None:
            self._helper.kill()

    def after_fork(self) -> None:
        """Use a process of its own: this is another instance of the service."""
        self._helper, self._batches = None, 0

    def _ask(self, call: Send) -> Sent:
        if self._helper is None:
            target = msgspec.msgpack.encode(self._target())
            self._helper = HelperProcess(_CHILD, target, _CALL_SECONDS)
        try:
            reply = self._helper.ask(msgspec.msgpack.encode(call))
            return msgspec.msgpack.decode(reply, type=Sent)
        except Exception as error:  # noqa: BLE001 - no trace may end the thread
            self._helper.kill()
            self._helper.close()
            return Sent(has_arrived=False, complaint=f"the process failed ({type(error).__name__})")

    def _target(self) -> Target:
        instance = f"{socket.gethostname()}:{os.getpid()}"
        resource = service_attributes(self._settings.namespace, instance)
        return Target(
            self._settings.otlp_endpoint, self._settings.otlp_protocol, resource, self._model
        )

    def _count(self, number: int, sent: Sent) -> None:
        self._batches = sent.batches
        self._meter.add(TRACES, "sent" if sent.has_arrived else "lost", amount=number)
        if number and sent.has_arrived == self._is_failing:
            if sent.has_arrived:
                log.info("traces are sent again")
            else:
                log.warning("traces cannot be sent", **{"error.message": sent.complaint})
            self._is_failing = not sent.has_arrived


def _without_texts(record: Record) -> Record:
    """Return a Record without what no span has: the prompt, and whose request it was."""
    return replace(record, facts=replace(record.facts, prompt=None, owner=""))


def _is_local(record: Record) -> bool:
    """Return whether a request belongs to a span of this process."""
    return record.facts.trace is not None and record.facts.trace.is_local


def _send_through_provider(record: Record, ended: int, model: str) -> None:
    from safelight.telemetry.otlp import send_through_provider

    assert record.facts.trace is not None
    send_through_provider(spans_of(record, ended, model), record.facts.trace)
