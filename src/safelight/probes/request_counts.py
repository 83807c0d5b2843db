"""Count HTTP requests: four metrics for each.

One lock and one look-up for all four: each of them alone costs a microsecond.
"""

from bisect import bisect_left

from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Exemplar, Meter
from safelight.metrics.series import COUNTS, VALUE, Series

Key = tuple[str, str, int]  # handler, method, status

_EDGES = HTTP_SECONDS.buckets
_MAX_KEYS = 512  # bounds memory: callers can send any number of methods


class RequestCounts:
    """The request counts of one application. Thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = meter.lock
        self._by_key: dict[Key, tuple[Series, Series, Series, Series]] = {}

    def count(
        self, key: Key, seconds: float, received: int, sent: int, trace_id: str | None
    ) -> None:
        """Count a request, with the bytes of its body and of its response."""
        series = self._by_key.get(key) or self._series_of(key)
        if trace_id is not None:
            _observe(series, seconds, (received, sent), {"trace_id": trace_id})
            return
        requests, durations, received_bytes, sent_bytes = series
        bucket = COUNTS + bisect_left(_EDGES, seconds)
        with self._lock:
            requests.cells[VALUE] += 1
            cells = durations.cells
            cells[VALUE] += seconds
            cells[bucket] += 1
            cells = received_bytes.cells
            cells[VALUE] += received
            cells[COUNTS] += 1
            cells = sent_bytes.cells
            cells[VALUE] += sent
            cells[COUNTS] += 1

    def _series_of(self, key: Key) -> tuple[Series, Series, Series, Series]:
        handler, method, status = key
        series = (
            self._meter.child(HTTP_REQUESTS, handler, method, str(status)),
            self._meter.child(HTTP_SECONDS, handler, method),
            self._meter.child(HTTP_REQUEST_BYTES, handler),
            self._meter.child(HTTP_RESPONSE_BYTES, handler),
        )
        if len(self._by_key) >= _MAX_KEYS:
            self._by_key.clear()
        self._by_key[key] = series
        return series


def _observe(
    series: tuple[Series, Series, Series, Series],
    seconds: float,
    sizes: tuple[int, int],
    exemplar: Exemplar,
) -> None:
    requests, durations, received_bytes, sent_bytes = series
    requests.inc(1, exemplar)
    durations.observe(seconds, exemplar)
    received_bytes.observe(sizes[0])
    sent_bytes.observe(sizes[1])
