"""Ratings by callers: one per request, which can be changed for a limited time.

The latest requests are kept in memory, so that a rating needs no database. Older requests may
still be in the records.
"""

from collections import OrderedDict, deque
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
    request_id: str
    owner: str
    key: str
    instruction_type: str
    expires: float
    rating: int | None = None


def in_memory(_rating: Rating) -> None:
    """Store a rating only in memory."""


class Ratings:
    """The requests that can be rated now; the oldest are removed first.

    When there are too many, a caller with more than an equal share of them loses its own.
    """

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
        self._by_owner: dict[str, deque[str]] = {}  # ids, the oldest first
        self._by_key: dict[tuple[str, str], list[str]] = {}  # owner and key: ids, the newest last
        meter.start_at_zero(USER_RATINGS, RATINGS_CHANGED)

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def add_record(self, record: Record) -> None:
        """Add a finished request (a sink of Records). A request without an output has no rating."""
        if record.status_code < 400:  # with an output, also a destroyed one
            facts = record.facts
            self.add(facts.id, facts.owner, facts.instruction_type, self._clock(), key=facts.key)

    def add(
        self,
        request_id: str,
        owner: str,
        instruction_type: str,
        at: float,
        rating: int | None = None,
        *,
        key: str = "",
    ) -> None:
        """Add a request that finished at a Unix time, with its current rating.

        An id belongs to its first owner. `key` is the id that the caller sent, if any.
        """
        if request_id in self._requests:
            return
        expires = at + self._kept_seconds
        self._requests[request_id] = _RateableRequest(
            request_id, owner, key, instruction_type, expires, rating
        )
        self._by_owner.setdefault(owner, deque()).append(request_id)
        if key:
            self._by_key.setdefault((owner, key), []).append(request_id)
        while self._oldest_has_expired():
            self.forget(next(iter(self._requests)))
        while len(self._requests) > self._capacity:
            own = self._by_owner[owner]
            is_greedy = len(own) * len(self._by_owner) > self._capacity
            self.forget(own[0] if is_greedy else next(iter(self._requests)))

    def ids(self, name: str, owner: str) -> list[str]:
        """Return this owner's requests with an id or key that can be rated, the newest last."""
        found = [*self._by_key.get((owner, name), ()), name]
        requests = (self._requests[each] for each in found if each in self._requests)
        now = self._clock()
        return [each.request_id for each in requests if each.owner == owner and each.expires > now]

    def can_rate(self, name: str, owner: str) -> bool:
        """Return True if this owner can rate this request now."""
        return bool(self.ids(name, owner))

    def rate(
        self,
        name: str,
        owner: str,
        rating: int,
        reason: str = "none",
        *,
        keep: Callable[[Rating], None] = in_memory,
    ) -> tuple[Rating, bool]:
        """Rate a request by its id or key. Return the rating, and True if it replaces another.

        `keep` stores the rating; if it raises, the rating does not count. The histogram counts
        only the first rating of a request. Raises UnknownRequest also for requests of other
        callers and for expired ones.
        """
        request = self._find(name, owner)
        new = Rating(request.request_id, request.instruction_type, rating, reason)
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
        request = self._requests.pop(request_id, None)
        if request is None:
            return
        own = self._by_owner[request.owner]
        own.remove(request_id)
        if not own:
            del self._by_owner[request.owner]
        if not request.key:
            return
        ids = self._by_key[request.owner, request.key]
        ids.remove(request_id)
        if not ids:
            del self._by_key[request.owner, request.key]

    def _find(self, name: str, owner: str) -> _RateableRequest:
        ids = self.ids(name, owner)
        if not ids:
            raise UnknownRequest
        return self._requests[ids[-1]]

    def _oldest_has_expired(self) -> bool:
        oldest = next(iter(self._requests.values()), None)
        return oldest is not None and oldest.expires <= self._clock()
