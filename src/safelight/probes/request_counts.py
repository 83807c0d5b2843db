"""Count HTTP requests: each request updates four metrics.

A process that no other reads counts many requests at a time: one after another costs more.
"""

from bisect import bisect_left
from collections.abc import Sequence

from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Exemplar, Meter
from safelight.metrics.series import COUNTS, VALUE

Key = tuple[str, str, int]  # handler, method, status
Measured = tuple[float, int, int]  # seconds, bytes of the request's body, and of the response's

_EDGES = HTTP_SECONDS.buckets
_MAX_PENDING = 64
_MAX_KEYS = 512  # bounds memory: callers can send any number of methods


class RequestCounts:
    """The request counts of one application. Thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._by_key: dict[Key, KeyCounts] = {}
        self._waiting: dict[Key, KeyCounts] = {}
        meter.before_expose(self.flush)

    def count(self, key: Key, measured: Measured, trace_id: str, *, may_wait: bool = False) -> None:
        """Count a request, later if it may wait and has no trace."""
        counts = self._by_key.get(key)
        if counts is None:
            if len(self._by_key) >= _MAX_KEYS:
                self.flush()
                self._by_key.clear()
            counts = self._by_key[key] = KeyCounts(self._meter, key)
        if may_wait and not trace_id:
            counts.later(measured)
        else:
            counts.count(measured, trace_id)

    def waiting(self, key: Key) -> "KeyCounts":
        """Return the counts of such requests, to count them later. The caller bounds the keys."""
        counts = self._waiting.get(key)
        if counts is None:
            counts = self._waiting[key] = KeyCounts(self._meter, key)
        return counts

    def flush(self) -> None:
        """Count all pending requests."""
        for counts in [*self._by_key.values(), *self._waiting.values()]:
            counts.flush()


class KeyCounts:
    """The counts of the requests with one handler, method and status."""

    def __init__(self, meter: Meter, key: Key) -> None:
        handler, method, status = key
        self.handler = handler
        self._lock = meter.lock
        self._requests = meter.child(HTTP_REQUESTS, handler, method, str(status))
        self._durations = meter.child(HTTP_SECONDS, handler, method)
        self._received_bytes = meter.child(HTTP_REQUEST_BYTES, handler)
        self._sent_bytes = meter.child(HTTP_RESPONSE_BYTES, handler)
        self._pending: list[Measured] = []

    def count(self, measured: Measured, trace_id: str) -> None:
        """Count a request, with its trace as exemplar."""
        seconds, received_bytes, sent_bytes = measured
        if not trace_id:
            with self._lock:
                self._add((seconds,), received_bytes, sent_bytes)
            return
        exemplar = Exemplar(trace_id)
        self._requests.inc(1, exemplar)
        self._durations.observe(seconds, exemplar)
        self._received_bytes.observe(received_bytes)
        self._sent_bytes.observe(sent_bytes)

    def later(self, measured: Measured) -> None:
        """Count a request before the next scrape, or after some more requests."""
        self._pending.append(measured)
        if len(self._pending) >= _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Count the pending requests."""
        with self._lock:  # a scrape sees all of them; `append` needs no lock
            batch = self._pending[:]
            del self._pending[: len(batch)]
            if batch:
                durations, received_bytes, sent_bytes = zip(*batch, strict=True)
                self._add(durations, sum(received_bytes), sum(sent_bytes))

    def _add(self, durations: Sequence[float], received_bytes: int, sent_bytes: int) -> None:
        """Count requests. The caller locks: once for all metrics, each costs a microsecond."""
        number = len(durations)
        self._requests.cells[VALUE] += number
        cells = self._durations.cells
        cells[VALUE] += sum(durations)
        for seconds in durations:
            cells[COUNTS + bisect_left(_EDGES, seconds)] += 1
        cells = self._received_bytes.cells
        cells[VALUE] += received_bytes
        cells[COUNTS] += number
        cells = self._sent_bytes.cells
        cells[VALUE] += sent_bytes
        cells[COUNTS] += number
