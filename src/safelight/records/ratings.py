"""Ratings by callers: one per request, which can be changed for a limited time.

The latest requests are kept in memory, so that a rating needs no database. Older requests may
still be in the records.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import time

from safelight.errors import UnknownRequest
from safelight.metrics.catalog import RATINGS_CHANGED, USER_RATING, USER_RATINGS
from safelight.metrics.registry import Meter
from safelight.records.rows import Rating
from safelight.telemetry.record import Record

MAX_RATEABLE = 20_000


@dataclass(slots=True)
class _RateableRequest:
    owner: str
    instruction_type: str
    expires: float
    rating: int | None = None


def in_memory(_rating: Rating) -> None:
    """Store a rating only in memory."""


class Ratings:
    """The requests that can be rated now; the oldest are removed first."""

    def __init__(
        self,
        meter: Meter,
        *,
        kept_seconds: float,
        capacity: int = MAX_RATEABLE,
        clock: Callable[[], float] = time,
    ) -> None:
        self._meter = meter
        self._kept_seconds = kept_seconds
        self._capacity = capacity
        self._clock = clock
        self._requests: OrderedDict[str, _RateableRequest] = OrderedDict()
        meter.start_at_zero(USER_RATINGS, RATINGS_CHANGED)

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def add_record(self, record: Record) -> None:
        """Add a finished request (a sink of Records). A request without an output has no rating."""
        if record.status_code < 400:  # with an output, also a destroyed one
            facts = record.facts
            self.add(facts.id, facts.owner, facts.instruction_type, self._clock())

    def add(
        self,
        request_id: str,
        owner: str,
        instruction_type: str,
        at: float,
        rating: int | None = None,
    ) -> None:
        """Add a request that finished at a Unix time, with its current rating.

        An id belongs to its first owner, because callers may choose ids.
        """
        expires = at + self._kept_seconds
        request = _RateableRequest(owner, instruction_type, expires, rating)
        self._requests.setdefault(request_id, request)
        while len(self._requests) > self._capacity or self._oldest_has_expired():
            self._requests.popitem(last=False)

    def can_rate(self, request_id: str, owner: str) -> bool:
        """Return True if this owner can rate this request now."""
        try:
            self._find(request_id, owner)
        except UnknownRequest:
            return False
        return True

    def rate(
        self,
        request_id: str,
        owner: str,
        rating: int,
        reason: str = "none",
        *,
        keep: Callable[[Rating], None] = in_memory,
    ) -> tuple[Rating, bool]:
        """Rate a request. Return the rating, and True if it replaces an earlier one.

        `keep` stores the rating; if it raises, the rating does not count. The histogram counts
        only the first rating of a request. Raises UnknownRequest also for requests of other
        callers and for expired ones.
        """
        request = self._find(request_id, owner)
        new = Rating(request_id, request.instruction_type, rating, reason)
        keep(new)
        changed = request.rating is not None
        if changed:
            self._meter.add(RATINGS_CHANGED)
        else:
            self._meter.observe(USER_RATING, request.instruction_type, value=rating)
            self._meter.add(USER_RATINGS, reason)
        request.rating = rating
        return new, changed

    def forget(self, request_id: str) -> None:
        """Remove a request."""
        self._requests.pop(request_id, None)

    def _find(self, request_id: str, owner: str) -> _RateableRequest:
        request = self._requests.get(request_id)
        if request is None or request.owner != owner or request.expires <= self._clock():
            raise UnknownRequest
        return request

    def _oldest_has_expired(self) -> bool:
        oldest = next(iter(self._requests.values()), None)
        return oldest is not None and oldest.expires <= self._clock()
