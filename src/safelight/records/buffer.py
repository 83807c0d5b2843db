"""Buffer of records, assessments, pairs and ratings that wait for the database."""

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from safelight.records.rows import Rating
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Record

MAX_SAMPLE_BYTES = 16 * 1024 * 1024  # of all waiting thumbnails
_MAX_FORGOTTEN = 10_000

Late = Assessment | Counterpart  # what is known after the record
Entry = tuple[float, Record | Late]
Rated = tuple[float, Rating]


@dataclass(frozen=True, slots=True)
class Pending:
    """Entries in order of arrival, and the last rating of each request."""

    entries: tuple[Entry, ...]
    ratings: dict[str, Rated]


class Buffer:
    """Holds up to `capacity` entries and as many ratings. Any thread adds, one thread takes.

    Taken entries stay in the buffer until `done`, so that a failed write can be repeated.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._queue: deque[Entry] = deque()
        self._taken: list[Entry] = []
        self._ratings: dict[str, Rated] = {}
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._sample_bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._taken) + len(self._ratings)

    def put(self, at: float, record: Record) -> bool:
        """Add a Record. Return False if the buffer is full."""
        if self._is_full():
            return False
        self._queue.append((at, record))
        return True

    def assess(self, at: float, assessment: Assessment) -> bool:
        """Add an Assessment; drop its thumbnails if too many bytes wait. Return False if full."""
        return self._add(at, assessment, replace(assessment, before=b"", after=b""))

    def compare(self, at: float, counterpart: Counterpart) -> bool:
        """Add a Counterpart, as `assess` does."""
        return self._add(at, counterpart, replace(counterpart, image=b""))

    def _add(self, at: float, content: Late, without: Late) -> bool:
        """Add content, or the same `without` images."""
        size = _sample_bytes(content)
        with self._lock:
            if self._is_full():
                return False
            if self._sample_bytes + size > MAX_SAMPLE_BYTES:
                content, size = without, 0
            self._sample_bytes += size
            self._queue.append((at, content))
        return True

    def rate(self, at: float, rating: Rating) -> bool:
        """Add a rating; it replaces an earlier one of the same request. Return False if full."""
        with self._lock:
            fits = rating.request_id in self._ratings or len(self._ratings) < self._capacity
            if fits:
                self._ratings[rating.request_id] = (at, rating)
        return fits

    def forget(self, request_id: str) -> None:
        """Drop everything about a request, now and in future."""
        with self._lock:
            self._forgotten[request_id] = None
            self._ratings.pop(request_id, None)
            if len(self._forgotten) > _MAX_FORGOTTEN:
                self._forgotten.popitem(last=False)

    def take(self, limit: int) -> Pending:
        """Return the next entries to write. Returns the same entries until `done` is called."""
        with self._lock:
            while self._queue and len(self._taken) < limit:
                self._taken.append(self._queue.popleft())
            entries = (entry for entry in self._taken if _id(entry[1]) not in self._forgotten)
            return Pending(tuple(entries), dict(self._ratings))

    def done(self, pending: Pending) -> int:
        """Remove the entries that were taken last. Return their number."""
        with self._lock:
            for request_id, entry in pending.ratings.items():
                if self._ratings.get(request_id) is entry:  # else the rating changed meanwhile
                    del self._ratings[request_id]
            self._sample_bytes -= sum(_sample_bytes(content) for _, content in self._taken)
            count, self._taken = len(self._taken), []
        return count

    def drop(self, *, ratings: bool = False) -> int:
        """Remove all entries, and `ratings`, which callers got confirmed. Return the number."""
        with self._lock:
            count = len(self._queue) + len(self._taken)
            self._queue.clear()
            self._taken, self._sample_bytes = [], 0
            if ratings:
                count += len(self._ratings)
                self._ratings.clear()
        return count

    def _is_full(self) -> bool:
        return len(self._queue) + len(self._taken) >= self._capacity


def _id(content: Record | Late) -> str:
    return content.facts.id if isinstance(content, Record) else content.request_id


def _sample_bytes(content: Record | Late) -> int:
    match content:
        case Assessment():
            return len(content.before) + len(content.after)
        case Counterpart():
            return len(content.image)
    return 0
