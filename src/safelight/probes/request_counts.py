"""HTTP requests counted cheaply: kept as plain numbers, entered into the meter when it is read.

Four metrics a request cost several microseconds one by one; here they cost half of one. Requests
that belong to a trace are entered at once, since each may be an exemplar.
"""

import threading
from bisect import bisect_left

from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Exemplar, Meter

Key = tuple[str, str, int]  # handler, method, status

_EDGES = HTTP_SECONDS.buckets
_MOST = 512  # a caller may invent methods without end: then the tallies are entered early


class _Tally:
    """What came together since the last reading, for one handler, method and status."""

    __slots__ = ("buckets", "received_bytes", "requests", "seconds", "sent_bytes")

    def __init__(self) -> None:
        self.requests = 0
        self.seconds = 0.0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.buckets = [0] * (len(_EDGES) + 1)


class Tallies:
    """The tallies of one application. Safe to use from any thread."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._tallies: dict[Key, _Tally] = {}
        meter.before_expose(self.enter_all)

    def count(
        self, key: Key, seconds: float, received: int, sent: int, trace_id: str | None
    ) -> None:
        """Count a request, with the bytes of its body and of its answer's."""
        if trace_id is not None:
            self._enter_one(key, seconds, (received, sent), {"trace_id": trace_id})
            return
        place = bisect_left(_EDGES, seconds)
        with self._lock:
            tally = self._tallies.get(key)
            if tally is None:
                tally = self._tallies[key] = _Tally()
            tally.requests += 1
            tally.seconds += seconds
            tally.buckets[place] += 1
            tally.received_bytes += received
            tally.sent_bytes += sent
        if len(self._tallies) > _MOST:
            self.enter_all()

    def enter_all(self) -> None:
        """Enter everything that was counted into the meter, and begin anew."""
        with self._lock:
            tallies, self._tallies = self._tallies, {}
        for (handler, method, status), tally in tallies.items():
            meter, requests = self._meter, tally.requests
            meter.add(HTTP_REQUESTS, handler, method, str(status), amount=requests)
            meter.merge(HTTP_SECONDS, handler, method, counts=tally.buckets, total=tally.seconds)
            meter.merge(HTTP_REQUEST_BYTES, handler, counts=[requests], total=tally.received_bytes)
            meter.merge(HTTP_RESPONSE_BYTES, handler, counts=[requests], total=tally.sent_bytes)

    def _enter_one(
        self, key: Key, seconds: float, sizes: tuple[int, int], exemplar: Exemplar
    ) -> None:
        handler, method, status = key
        self._meter.child(HTTP_REQUESTS, handler, method, str(status)).inc(1, exemplar)
        self._meter.observe(HTTP_SECONDS, handler, method, value=seconds, exemplar=exemplar)
        self._meter.observe(HTTP_REQUEST_BYTES, handler, value=sizes[0])
        self._meter.observe(HTTP_RESPONSE_BYTES, handler, value=sizes[1])
