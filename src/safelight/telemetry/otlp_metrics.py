"""Send all metrics to a receiver of OTLP: OpenTelemetry's Collector, or a store that speaks it.

A receiver that is absent, slow or refuses costs the service nothing: what it did not take is in the
next sending, because counts only grow. One that took a sending and did not say so gets a delta
twice.
"""

import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import version
from time import monotonic, time
from uuid import uuid4

import msgspec
import structlog
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from safelight.metrics.processes.turns import Turn, Turns
from safelight.metrics.registry import Meter
from safelight.settings import Settings
from safelight.telemetry.otlp import resource_of
from safelight.telemetry.otlp_points import Key, Points, Span, rows_of
from safelight.telemetry.private import masked
from safelight.telemetry.resource import service_attributes

_SENDING_SECONDS = 5.0
_LAST_SECONDS, _LEAST_SECONDS = 2.0, 0.1  # at the end of the service, with the wait for a turn
_EARLY = 0.9  # of the interval: the ticks of several processes are not exactly one apart
_START = "process_start_time_seconds"
_VARIABLES = {  # that a library quotes in its log if they are malformed, by its logger
    "opentelemetry.util.re": "OTEL_EXPORTER_OTLP_HEADERS or OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "opentelemetry.sdk.resources": "OTEL_RESOURCE_ATTRIBUTES",
}
_CAUSE = re.compile(r"\[(?:Errno -?\d+|SSL: \w+)\] [\w ]{1,80}")  # what the system says
_MAX_SAID, _MAX_REASON = 8, 300  # messages, and characters of all
_Said = deque[tuple[str, str]]  # a logger, and its message
_said: ContextVar[_Said | None] = ContextVar("safelight_otlp", default=None)
log = structlog.wrap_logger(logging.getLogger("safelight"))  # a watched service's own handlers


class NotTaken(RuntimeError):
    """A receiver did not take a sending, for the reason in the message. The log tells it."""


class Notes(msgspec.Struct):
    """What the processes of a service note of their sendings. Times are Unix seconds."""

    instance: str = msgspec.field(default_factory=lambda: uuid4().hex)
    tried: float = 0.0
    taken: float = 0.0
    is_failing: bool = False
    counted: dict[Key, list[float]] = msgspec.field(default_factory=dict)  # only for deltas


class MetricsSender:
    """Sends the metrics of a meter. All processes of one server send together, once.

    It has no thread: call `tick` at the interval of the settings, and `finish` at the end.
    """

    def __init__(
        self,
        meter: Meter,
        settings: Settings,
        *,
        clock: Callable[[], float] = time,
        around_network: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._meter = meter
        self._settings = settings
        self._clock = clock
        self._around_network = around_network
        self._turns = Turns(meter.membership, "otlp")
        self._begun = clock()
        self._connect = _connection(settings)
        self._told: set[str] = set()  # the loggers whose variable is malformed

    def tick(self) -> None:
        """Send if it is time, one interval after the last try. Raises NotTaken."""
        with self._turns.take() as turn:
            if turn is not None:
                self._send(turn, _SENDING_SECONDS, least=_EARLY)

    def finish(self) -> None:
        """Send what was counted since the last sending. Raises NotTaken."""
        ends = monotonic() + _LAST_SECONDS
        with self._turns.take(_LAST_SECONDS) as turn:
            if turn is not None:
                self._send(turn, max(ends - monotonic(), _LEAST_SECONDS))

    def _send(self, turn: Turn, seconds: float, least: float = 0.0) -> None:
        notes = msgspec.msgpack.decode(turn.notes, type=Notes) if turn.notes else Notes()
        now = self._clock()
        begun = notes.tried or self._begun
        if 0 <= now - begun < least * self._settings.otlp_metrics_seconds:
            return
        notes.tried = now
        turn.notes = msgspec.msgpack.encode(notes)
        with _hearing() as said:
            points, sent = self._sending(notes, now)
            try:
                self._export(sent, seconds, said)
            except NotTaken as error:
                _tell(notes, str(error))
                turn.notes = msgspec.msgpack.encode(notes)
                raise
        _tell(notes, "")
        notes.taken = now
        if points.before is not None:
            notes.counted = points.counted
        turn.notes = msgspec.msgpack.encode(notes)

    def _sending(self, notes: Notes, now: float) -> tuple[Points, MetricsData]:
        process, rows = self._meter.read()
        starts = (f.samples[0].value for f in process if f.name == _START)
        start = next(starts, self._begun)
        is_delta = self._settings.otlp_temporality == "delta"
        begin = min(now, (notes.taken or start) if is_delta else start)
        before = notes.counted if is_delta else None
        points = Points(self._meter.namespace, Span(begin, now, notes.taken), before)
        metrics = points.metrics([*rows_of(process), *rows])
        resource = resource_of(service_attributes(self._meter.namespace, notes.instance))
        scope = ScopeMetrics(InstrumentationScope("safelight", version("safelight")), metrics, "")
        return points, MetricsData([ResourceMetrics(resource, [scope], "")])

    def _export(self, data: MetricsData, seconds: float, said: _Said) -> None:
        """Send with a client of its own: it finds a receiver that has moved, and no fork has it."""
        with ExitStack() as held:
            client = self._connect(seconds)
            held.callback(client.shutdown)
            quiet = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
            held.callback(detach, quiet)
            self._tell_malformed(said)
            said.clear()
            with self._around_network():
                result = client.export(data)
            if result is not MetricExportResult.SUCCESS:
                raise NotTaken(_reason(said))

    def _tell_malformed(self, said: _Said) -> None:
        """Name a malformed variable once, and never its value: it may be a credential."""
        for logger in {name for name, _ in said} - self._told:
            self._told.add(logger)
            if logger in _VARIABLES:
                log.warning("%s is malformed", _VARIABLES[logger])


def _connection(settings: Settings) -> Callable[[float], MetricExporter]:
    """Return the function that makes a client with a time limit in seconds."""
    address, process = settings.otlp_endpoint.rstrip("/"), os.getpid()
    if settings.otlp_protocol != "grpc":
        from opentelemetry.exporter.otlp.proto.http import metric_exporter as http

        return lambda seconds: http.OTLPMetricExporter(f"{address}/v1/metrics", timeout=seconds)
    from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc

    def connect(seconds: float) -> MetricExporter:
        if process != os.getpid():
            raise NotTaken("gRPC does not work after a fork: choose http/protobuf.")
        return grpc.OTLPMetricExporter(address, timeout=seconds)

    return connect


def _tell(notes: Notes, reason: str) -> None:
    """Log the begin and the end of an outage, once for all processes that share the notes."""
    if bool(reason) == notes.is_failing:
        return
    notes.is_failing = bool(reason)
    if reason:
        log.warning("metrics cannot be sent", **{"error.message": reason})
    else:
        log.info("metrics are sent again")


@contextmanager
def _hearing() -> Iterator[_Said]:
    """Keep what OpenTelemetry says meanwhile in this thread, and out of the log."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name) if name.startswith("opentelemetry.") else None
        if logger is not None and _heard not in logger.filters:
            logger.filters.insert(0, _heard)  # before those that pass no text twice
    said: _Said = deque(maxlen=_MAX_SAID)
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


def _heard(record: logging.LogRecord) -> bool:
    said = _said.get()
    if said is not None:
        said.append((record.name, record.getMessage()))
    return said is None


def _reason(said: _Said) -> str:
    """Return why a receiver did not take a sending. A quotation may be a header with its value."""
    text = " ".join(message for _, message in said)
    causes = _CAUSE.findall(text)
    return (causes[-1] if causes else masked(text)[-_MAX_REASON:]) or "the client gave no reason"
