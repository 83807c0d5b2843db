"""The jobs that wait, by key, the most urgent first. One size never blocks another."""

from collections import Counter
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Any

from safelight.serving.engine.queue_entry import Ticket

Key = tuple[Any, ...]
_FEW = 16  # withdrawn tickets of a key that may lie about


class Backlog:
    """Waiting tickets: a heap for each key; those withdrawn are passed over, or swept out."""

    def __init__(self) -> None:
        self._heaps: dict[Key, list[Ticket]] = {}
        self._counts: Counter[tuple[Key, int, float]] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, ticket: Ticket) -> None:
        """Add a ticket."""
        heappush(self._heaps.setdefault(ticket.key, []), ticket)
        ticket.gone = False
        self._count(ticket, 1)

    def remove(self, ticket: Ticket) -> None:
        """Take a waiting ticket out; its image is not kept until its turn would have come."""
        ticket.gone = True
        self._count(ticket, -1)
        heap = self._heaps[ticket.key]
        if len(heap) > 2 * self.waiting(ticket.key) + _FEW:
            heap[:] = [other for other in heap if not other.gone]
            heapify(heap)

    def heads(self) -> list[Ticket]:
        """Return the most urgent ticket of each key, the most urgent first."""
        for key in list(self._heaps):
            heap = self._heaps[key]
            while heap and heap[0].gone:
                heappop(heap)
            if not heap:
                del self._heaps[key]
        return sorted(heap[0] for heap in self._heaps.values())

    def take(self, key: Key, most: int) -> list[Ticket]:
        """Take the most urgent tickets of a key out, at most so many."""
        heap = self._heaps.get(key, [])
        taken: list[Ticket] = []
        while heap and len(taken) < most:
            ticket = heappop(heap)
            if not ticket.gone:
                ticket.gone = True  # from here: whoever withdraws it now must not count it twice
                self._count(ticket, -1)
                taken.append(ticket)
        return taken

    def waiting(self, key: Key) -> int:
        """Return how many tickets of a key wait."""
        return sum(number for (found, _, _), number in self._counts.items() if found == key)

    def place(self, ticket: Ticket) -> int:
        """Return how many waiting tickets are more urgent than this one."""
        if ticket.holder is not None:
            return 0
        return sum(
            other < ticket for heap in self._heaps.values() for other in heap if not other.gone
        )

    def ahead(self, rank: int | None = None) -> Iterator[tuple[Key, int, float]]:
        """Yield (key, number, units of each) of what waits; of the more urgent up to a rank."""
        for (key, found, units), number in self._counts.items():
            if rank is None or found <= rank:
                yield key, number, units

    def _count(self, ticket: Ticket, change: int) -> None:
        kind = (ticket.key, ticket.urgency[0], ticket.job.units)
        self._counts[kind] += change
        if not self._counts[kind]:
            del self._counts[kind]
        self._length += change
