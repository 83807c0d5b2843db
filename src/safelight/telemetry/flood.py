"""Bound how many equal log lines are written: a fault in a loop must not fill the disk."""

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

PER_SECOND = 20


class Kind(NamedTuple):
    """What equal lines have in common. They may differ in their fields."""

    logger: str
    level: int
    message: str


class Flood:
    """Admits so many lines of each kind in a second, and counts the others."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._second = int(clock())
        self._numbers = Counter[Kind]()

    def admits(self, kind: Kind) -> bool:
        """Return whether to write a line of this kind."""
        self._numbers[kind] += 1
        return self._numbers[kind] <= PER_SECOND

    def left_out(self, *, at_the_end: bool = False) -> dict[Kind, int]:
        """Return once, after each second, how many lines of each kind were not written in it."""
        second = int(self._clock())
        if second == self._second and not at_the_end:
            return {}
        numbers, self._numbers, self._second = self._numbers, Counter(), second
        return {
            kind: number - PER_SECOND for kind, number in numbers.items() if number > PER_SECOND
        }
