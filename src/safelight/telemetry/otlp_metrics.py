"""Send all metrics to a receiver of OTLP: OpenTelemetry's Collector, or a store that speaks it.

A receiver that is absent, slow or refuses costs the service nothing: what it did not take is in the
next sending, because counts only grow. One that took a sending and did not say so gets a delta
twice.
"""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from importlib.metadata import version
from time import time
from uuid import uuid4

import msgspec
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
from safelight.telemetry.resource import service_attributes

_SENDING_SECONDS, _LAST_SECONDS = 5.0, 2.0  # the second at the end of the service
_EARLY = 0.9  # of the interval: the ticks of several processes are not exactly one apart
_START = "process_start_time_seconds"
_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
)
_said: ContextVar[list[str] | None] = ContextVar("safelight_otlp", default=None)


class NotTaken(RuntimeError):
    """A receiver did not take a sending."""


class Notes(msgspec.Struct):
    """What the processes of a service note of their sendings. Times are Unix seconds."""

    instance: str = msgspec.field(default_factory=lambda: uuid4().hex)
    tried: float = 0.0
    taken: float = 0.0
    counted: dict[Key, list[float]] = msgspec.field(default_factory=dict)  # only for deltas


class MetricsSender:
    """Sends the metrics of a meter. All processes of one server send together, once.

    It has no thread: call `tick` at the interval of the settings, and `finish` at the end.
    """

    def __init__(
        self, meter: Meter, settings: Settings, *, clock: Callable[[], float] = time
    ) -> None:
        self._meter = meter
        self._settings = settings
        self._clock = clock
        self._turns = Turns(meter.membership, "otlp")
        self._begun = clock()
        self._connect = _connection(settings)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_heard)

    def tick(self) -> None:
        """Send if it is time, one interval after the last try. Raises NotTaken."""
        with self._turns.take() as turn:
            if turn is not None:
                self._send(turn, _SENDING_SECONDS, least=_EARLY)

    def finish(self) -> None:
        """Send what was counted since the last sending. Raises NotTaken."""
        with self._turns.take(_LAST_SECONDS) as turn:
            if turn is not None:
                self._send(turn, _LAST_SECONDS)

    def _send(self, turn: Turn, seconds: float, least: float = 0.0) -> None:
        notes = msgspec.msgpack.decode(turn.notes, type=Notes) if turn.notes else Notes()
        now = self._clock()
        begun = notes.tried or self._begun
        if 0 <= now - begun < least * self._settings.otlp_metrics_seconds:
            return
        notes.tried = now
        turn.notes = msgspec.msgpack.encode(notes)
        points, sent = self._sending(notes, now)
        self._export(sent, seconds)
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

    def _export(self, data: MetricsData, seconds: float) -> None:
        """Send with a client of its own: it finds a receiver that has moved, and no fork has it."""
        with ExitStack() as held:
            client = self._connect(seconds)
            held.callback(client.shutdown)
            quiet = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
            held.callback(detach, quiet)
            said: list[str] = []
            held.callback(_said.reset, _said.set(said))
            if client.export(data) is not MetricExportResult.SUCCESS:
                raise NotTaken(f"The receiver of metrics did not take them: {' '.join(said)[:300]}")


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


def _heard(record: logging.LogRecord) -> bool:
    """Keep what a client of ours says out of the log, once a sending: the guard tells it once."""
    said = _said.get()
    if said is not None:
        said.append(record.getMessage())
    return said is None
