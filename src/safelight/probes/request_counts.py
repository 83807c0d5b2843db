"""Count HTTP requests: each request updates four metrics.

One lock and one look-up for all four: each of them alone costs a microsecond. A process that no
other reads counts many requests at a time: one after another, that takes a third of the time.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection

from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Exemplar, Meter
from safelight.metrics.series import COUNTS, VALUE, Series
from safelight.telemetry.traces import trace_id_of

Key = tuple[str, str, int]  # handler, method, status


Sizes = tuple[int, int]  # bytes of the request's body, and of the response's
Headers = Collection[tuple[bytes, bytes]]
Pending = tuple[Key, float, Sizes, str | None, Headers]
"""A request that is not counted yet: key, seconds, sizes, trace id, headers of the request.

A plain tuple: it is made for each request.
"""

_EDGES = HTTP_SECONDS.buckets
_MAX_PENDING = 256
_MAX_KEYS = 512  # bounds memory: callers can send any number of methods


class RequestCounts:
    """The request counts of one application. Thread-safe."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = meter.lock
        self._by_key: dict[Key, tuple[Series, Series, Series, Series]] = {}
        self._pending: deque[Pending] = deque()
        meter.before_expose(self.flush)

    def count(self, key: Key, seconds: float, sizes: Sizes, trace_id: str | None) -> None:
        """Count a request."""
        series = self._by_key.get(key) or self._series_of(key)
        if trace_id is not None:
            _observe(series, seconds, sizes, {"trace_id": trace_id})
            return
        requests, durations, received_bytes, sent_bytes = series
        bucket = COUNTS + bisect_left(_EDGES, seconds)
        with self._lock:
            requests.cells[VALUE] += 1
            cells = durations.cells
            cells[VALUE] += seconds
            cells[bucket] += 1
            cells = received_bytes.cells
            cells[VALUE] += sizes[0]
            cells[COUNTS] += 1
            cells = sent_bytes.cells
            cells[VALUE] += sizes[1]
            cells[COUNTS] += 1

    def later(self, request: Pending) -> None:
        """Count a request before the next scrape, or after some more requests."""
        self._pending.append(request)
        if len(self._pending) >= _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Count all pending requests."""
        while self._pending:
            try:
                request = self._pending.popleft()
            except IndexError:  # another thread took it
                return
            key, seconds, sizes, trace_id, headers = request
            self.count(key, seconds, sizes, trace_id or trace_id_of(headers))

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
