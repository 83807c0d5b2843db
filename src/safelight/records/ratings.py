"""What callers think of their answers: one rating a request, changeable, for a while.

It knows by heart to whom the last answers went, so that rating needs no database; what it has
forgotten the records may still know.
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

MOST_KNOWN = 20_000


@dataclass(slots=True)
class _Answered:
    owner: str
    instruction_type: str
    until: float
    rating: int | None = None


def in_memory(_rating: Rating) -> None:
    """Keep a rating nowhere but in memory."""


class Ratings:
    """The answers that may be rated now, by request; the oldest are forgotten first."""

    def __init__(
        self,
        meter: Meter,
        *,
        kept_seconds: float,
        most: int = MOST_KNOWN,
        clock: Callable[[], float] = time,
    ) -> None:
        self._meter = meter
        self._kept_seconds = kept_seconds
        self._most = most
        self._clock = clock
        self._known: OrderedDict[str, _Answered] = OrderedDict()
        meter.start_at_zero(USER_RATINGS, RATINGS_CHANGED)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._known

    def learn(self, record: Record) -> None:
        """Know an answer: the sink of Records. Who failed got nothing that could be rated."""
        if record.status_code < 400:  # whoever got a picture, destroyed or not
            self.know(record.id, record.owner, record.instruction_type, self._clock())

    def know(
        self,
        request_id: str,
        owner: str,
        instruction_type: str,
        at: float,
        rating: int | None = None,
    ) -> None:
        """Know an answer that somebody got at a time, and its rating so far.

        The first to have an id keeps it: ids may be the callers' own.
        """
        until = at + self._kept_seconds
        self._known.setdefault(request_id, _Answered(owner, instruction_type, until, rating))
        while len(self._known) > self._most or self._oldest_is_over():
            self._known.popitem(last=False)

    def is_known(self, request_id: str, owner: str) -> bool:
        """Tell whether this owner may rate this request now."""
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
        """Rate an answer; return the rating, and whether it replaces another.

        The histogram has the first rating of each request, for a count cannot be taken back. What
        `keep` refuses was never given. Raises UnknownRequest, for somebody else's and for one that
        is too old too, and what `keep` raises.
        """
        found = self._find(request_id, owner)
        given = Rating(request_id, found.instruction_type, rating, reason)
        keep(given)
        changed = found.rating is not None
        if changed:
            self._meter.add(RATINGS_CHANGED)
        else:
            self._meter.observe(USER_RATING, found.instruction_type, value=rating)
            self._meter.add(USER_RATINGS, reason)
        found.rating = rating
        return given, changed

    def forget(self, request_id: str) -> None:
        """Know nothing of a request any more."""
        self._known.pop(request_id, None)

    def _find(self, request_id: str, owner: str) -> _Answered:
        found = self._known.get(request_id)
        if found is None or found.owner != owner or found.until <= self._clock():
            raise UnknownRequest
        return found

    def _oldest_is_over(self) -> bool:
        return bool(self._known) and next(iter(self._known.values())).until <= self._clock()
