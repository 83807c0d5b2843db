"""The series that count requests, found once for all requests that are alike.

To find a dozen series for each request would take longer than to count into them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from safelight.metrics.catalog import (
    LAST_SUCCESS,
    OUTCOMES,
    PRIORITY_SECONDS,
    QUEUED_SECONDS,
    REQUEST_MAX,
    REQUEST_SECONDS,
    REQUESTS,
    SPEED,
    SPEED_TARGET_SECONDS,
    STAGE_SECONDS,
    SUCCESSES,
)
from safelight.metrics.metric import Metric
from safelight.metrics.registry import Exemplar, Meter
from safelight.metrics.series import Series, observe_all
from safelight.reasons import outcome_of
from safelight.telemetry.record import Record

_SERVED = ("ok", "server_error")  # refusals are fast, and callers' mistakes say nothing


class RequestWriter:
    """Counts Records with a meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._known: dict[tuple[str, int, str, str, str], RequestSeries] = {}

    def series_of(self, record: Record) -> "RequestSeries":
        """Return the series that count a request and all that are like it."""
        facts = record.facts
        key = (
            record.endpoint,
            record.status_code,
            record.error,
            facts.instruction_type,
            facts.priority,
        )
        series = self._known.get(key)
        if series is None:
            series = RequestSeries(self._meter, record)
            if series.are_exact:
                self._known[key] = series
        return series


class RequestSeries:
    """The series of all requests that are like one: its endpoint, status, error, type, priority.

    They `are_exact` if none of them is `other`, which the meter counts each time.
    """

    def __init__(self, meter: Meter, record: Record) -> None:
        self._meter = meter
        self.are_exact = True
        status, kind = str(record.status_code), record.facts.instruction_type
        priority, outcome = record.facts.priority, outcome_of(record.error)
        self._requests = self._find(REQUESTS, record.endpoint, status, kind, record.error)
        # Also at 0: a type that only failed must have a success ratio of 0, not none.
        self._successes = self._find(SUCCESSES, record.endpoint, kind)
        self._outcomes = self._find(OUTCOMES, outcome, priority)
        self._seconds = [self._find(REQUEST_SECONDS, record.endpoint, status, kind)]
        if outcome in _SERVED:
            self._seconds.append(self._find(PRIORITY_SECONDS, priority))
        self._longest = self._find(REQUEST_MAX)
        self._speed = self._find(SPEED, kind) if record.succeeded else None
        self._last_success = self._find(LAST_SUCCESS) if record.succeeded else None

    def _find(self, metric: Metric, *labels: str) -> Series:
        series = self._meter.child(metric, *labels)
        self.are_exact &= self._meter.has(metric, *labels)
        return series

    def note(self, record: Record) -> None:
        """Note when such a request ended, and whether it took longest."""
        self._longest.peak(record.seconds)
        if self._last_success is not None:
            self._last_success.set(self._last_success.clock())

    def count(self, records: Sequence[Record], exemplar: Exemplar | None = None) -> None:
        """Count such requests; the exemplar is the last one's."""
        self._requests.inc(len(records), exemplar)
        self._outcomes.inc(len(records))
        observe_all(self._times(records), self._meter.lock, exemplar)
        if self._speed is not None:
            self._successes.inc(len(records))
            speeds = [_speed(record) for record in records]
            observe_all([(self._speed, speeds)], self._meter.lock)

    def _times(self, records: Sequence[Record]) -> Iterator[tuple[Series, Sequence[float]]]:
        totals = [record.seconds for record in records]
        for series in self._seconds:
            yield series, totals
        child = self._meter.child
        queued = [r.stages.get("queue", 0.0) for r in records if r.facts.queued]
        if queued:
            yield child(QUEUED_SECONDS, records[0].facts.priority), queued
        stages = defaultdict[str, list[float]](list)
        for record in records:
            for stage, seconds in record.stages.items():
                stages[stage].append(seconds)
        for stage, each in stages.items():
            yield child(STAGE_SECONDS, stage), each


def _speed(record: Record) -> float:
    """Return the target over the target and the time without the queue (0 to 1)."""
    seconds = max(0.0, record.seconds - record.stages.get("queue", 0.0))
    return SPEED_TARGET_SECONDS / (SPEED_TARGET_SECONDS + seconds)
