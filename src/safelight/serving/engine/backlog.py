"""The waiting jobs: one heap for each kind of job that can share a batch; most urgent first.

One image size never blocks another.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf

from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import PRIORITIES, Key

_REMOVED_LIMIT = 16  # removed entries that may stay in a heap beside as many as wait


class Backlog:
    """Waiting entries. A removed entry stays in its heap until it is popped or compacted."""

    def __init__(self) -> None:
        self._heaps: dict[Key, list[QueueEntry]] = {}
        self._counts: Counter[tuple[Key, int, float]] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, entry: QueueEntry) -> None:
        """Add an entry."""
        heappush(self._heaps.setdefault(entry.key, []), entry)
        entry.removed = False
        self._count(entry, 1)

    def remove(self, entry: QueueEntry) -> None:
        """Remove a waiting entry; heaps with many removed entries are compacted."""
        entry.removed = True
        self._count(entry, -1)
        heap = self._heaps[entry.key]
        if len(heap) > 2 * self.waiting(entry.key) + _REMOVED_LIMIT:
            heap[:] = [other for other in heap if not other.removed]
            heapify(heap)

    def heads(self) -> list[QueueEntry]:
        """Return the most urgent entry of each key, the most urgent first."""
        for key in list(self._heaps):
            heap = self._heaps[key]
            while heap and heap[0].removed:
                heappop(heap)
            if not heap:
                del self._heaps[key]
        return sorted(heap[0] for heap in self._heaps.values())

    def take(self, key: Key, limit: int) -> list[QueueEntry]:
        """Remove and return the most urgent entries of a key, at most `limit`."""
        heap = self._heaps.get(key, [])
        entries: list[QueueEntry] = []
        while heap and len(entries) < limit:
            entry = heappop(heap)
            if not entry.removed:
                entry.removed = True  # a later `remove` must not count it again
                self._count(entry, -1)
                entries.append(entry)
        return entries

    def waiting(self, key: Key) -> int:
        """Return how many entries of a key wait."""
        return sum(number for (other, _, _), number in self._counts.items() if other == key)

    def position(self, entry: QueueEntry) -> int:
        """Return how many waiting entries are more urgent than this one."""
        if entry.holder is not None:
            return 0
        return sum(
            other < entry for heap in self._heaps.values() for other in heap if not other.removed
        )

    def ahead(self, rank: float = inf, priority: float = inf) -> Iterator[tuple[Key, int, float]]:
        """Yield (key, number, units of each) of the waiting jobs, up to a rank and a priority."""
        for (key, other, units), number in self._counts.items():
            if other <= rank and other % len(PRIORITIES) <= priority:
                yield key, number, units

    def _count(self, entry: QueueEntry, change: int) -> None:
        group = (entry.key, entry.urgency[0], entry.job.units)
        self._counts[group] += change
        if not self._counts[group]:
            del self._counts[group]
        self._length += change
