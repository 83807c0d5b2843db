"""What waits for the database: bounded in number and bytes, and taken in batches until written."""

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from safelight.records.rows import Rating
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import Record

MOST_SAMPLE_BYTES = 16 * 1024 * 1024  # of thumbnails that wait
_MOST_FORGOTTEN = 10_000

Entry = tuple[float, Record | Assessment]
Rated = tuple[float, Rating]


@dataclass(frozen=True, slots=True)
class Taken:
    """Entries in the order they came, and the last rating of each request."""

    entries: tuple[Entry, ...]
    ratings: dict[str, Rated]


class Buffer:
    """Holds up to `most` entries, and as many ratings. Any thread puts in, one takes out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._queue: deque[Entry] = deque()
        self._hand: list[Entry] = []
        self._ratings: dict[str, Rated] = {}
        self._forgotten: OrderedDict[str, None] = OrderedDict()
        self._sample_bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._hand) + len(self._ratings)

    def put(self, at: float, record: Record) -> bool:
        """Keep a Record; tell whether there was room."""
        if len(self._queue) >= self._most:
            return False
        self._queue.append((at, record))
        return True

    def assess(self, at: float, found: Assessment) -> bool:
        """Keep an Assessment, without its thumbnails where too many bytes wait."""
        size = _bytes(found)
        with self._lock:
            if len(self._queue) >= self._most:
                return False
            if self._sample_bytes + size > MOST_SAMPLE_BYTES:
                found, size = replace(found, before=b"", after=b""), 0
            self._sample_bytes += size
            self._queue.append((at, found))
        return True

    def rate(self, at: float, rating: Rating) -> bool:
        """Keep a rating in place of an earlier one of the same request."""
        with self._lock:
            fits = rating.request_id in self._ratings or len(self._ratings) < self._most
            if fits:
                self._ratings[rating.request_id] = (at, rating)
        return fits

    def forget(self, request_id: str) -> None:
        """Have nothing of a request written any more, whatever comes."""
        with self._lock:
            self._forgotten[request_id] = None
            self._ratings.pop(request_id, None)
            if len(self._forgotten) > _MOST_FORGOTTEN:
                self._forgotten.popitem(last=False)

    def take(self, most: int) -> Taken:
        """Return what is to be written next; the same again until `done` is told."""
        while self._queue and len(self._hand) < most:
            self._hand.append(self._queue.popleft())
        with self._lock:
            wanted = (entry for entry in self._hand if _id(entry[1]) not in self._forgotten)
            return Taken(tuple(wanted), dict(self._ratings))

    def done(self, taken: Taken) -> int:
        """Let go of what was taken last; return how many entries that were."""
        with self._lock:
            for request_id, entry in taken.ratings.items():
                if self._ratings.get(request_id) is entry:  # else it was changed meanwhile
                    del self._ratings[request_id]
            self._sample_bytes -= sum(_bytes(what) for _, what in self._hand)
            count, self._hand = len(self._hand), []
        return count

    def drop(self) -> int:
        """Let go of all but the ratings, which callers were promised; return how much it was."""
        with self._lock:
            count = len(self._queue) + len(self._hand)
            self._queue.clear()
            self._hand, self._sample_bytes = [], 0
        return count


def _id(what: Record | Assessment) -> str:
    return what.id if isinstance(what, Record) else what.request_id


def _bytes(what: Record | Assessment) -> int:
    return 0 if isinstance(what, Record) else len(what.before) + len(what.after)
