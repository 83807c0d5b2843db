"""The waiting jobs: one heap for each lane of jobs; most urgent first.

One image size never blocks another.
"""

from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf

from safelight.serving.engine.queue_entry import Lane, QueueEntry
from safelight.serving.job import PRIORITIES, Key

_REMOVED_LIMIT = 16  # removed entries that may stay in a heap beside as many as wait


class Backlog:
    """Waiting entries. A removed entry stays in its heap until it is popped or compacted."""

    def __init__(self) -> None:
        self._heaps: dict[Lane, list[QueueEntry]] = {}
        self._counts: Counter[tuple[Lane, int, float]] = Counter()
        self._length = 0
        self.taken = 0  # entries that left it for a worker

    def __len__(self) -> int:
        return self._length

    def push(self, entry: QueueEntry) -> None:
        """Add an entry."""
        heappush(self._heaps.setdefault(entry.lane, []), entry)
        entry.removed = False
        self._count(entry, 1)

    def remove(self, entry: QueueEntry) -> None:
        """Remove a waiting entry; heaps with many removed entries are compacted."""
        entry.removed = True
        self._count(entry, -1)
        heap = self._heaps[entry.lane]
        if len(heap) > 2 * self.waiting(entry.lane) + _REMOVED_LIMIT:
            heap[:] = [other for other in heap if not other.removed]
            heapify(heap)

    def reorder(self) -> None:
        """Order all entries again, by their jobs' present ranks."""
        entries = list(self)
        self._heaps.clear()
        self._counts.clear()
        self._length = 0
        for entry in entries:
            entry.rank()
            self.push(entry)

    def __iter__(self) -> Iterator[QueueEntry]:
        """Yield all waiting entries, in no order."""
        return (e for heap in self._heaps.values() for e in heap if not e.removed)

    def heads(self) -> list[QueueEntry]:
        """Return the most urgent entry of each lane, the most urgent first."""
        for lane in list(self._heaps):
            heap = self._heaps[lane]
            while heap and heap[0].removed:
                heappop(heap)
            if not heap:
                del self._heaps[lane]
        return sorted(heap[0] for heap in self._heaps.values())

    def take(self, lane: Lane, limit: int) -> list[QueueEntry]:
        """Remove and return the most urgent entries of a lane, at most `limit`."""
        heap = self._heaps.get(lane, [])
        entries: list[QueueEntry] = []
        while heap and len(entries) < limit:
            entry = heappop(heap)
            if not entry.removed:
                entry.removed = True  # a later `remove` must not count it again
                self._count(entry, -1)
                entries.append(entry)
        self.taken += len(entries)
        return entries

    def waiting(self, lane: Lane) -> int:
        """Return how many entries of a lane wait."""
        return sum(number for (other, _, _), number in self._counts.items() if other == lane)

    def position(self, entry: QueueEntry) -> int:
        """Return how many waiting entries are more urgent than this one."""
        if entry.holder is not None:
            return 0
        return sum(
            other < entry for heap in self._heaps.values() for other in heap if not other.removed
        )

    def ahead(self, rank: float = inf, priority: float = inf) -> Iterator[tuple[Key, int, float]]:
        """Yield (key, number, units of each) of the waiting jobs, up to a rank and a priority."""
        for ((key, _), other, units), number in self._counts.items():
            if other <= rank and other % len(PRIORITIES) <= priority:
                yield key, number, units

    def _count(self, entry: QueueEntry, change: int) -> None:
        group = (entry.lane, entry.urgency[0], entry.units)
        self._counts[group] += change
        if not self._counts[group]:
            del self._counts[group]
        self._length += change
