"""When a job would be done: plan the batches of its key as a worker forms them. Arithmetic only."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Pace:
    """What the batches of one key take, and how fast its jobs come.

    `cost` gives the seconds of a batch of n ≤ `cap`. All times may be `caution` times as long.
    `per_second` jobs arrive for each of the `workers`.
    """

    cost: Callable[[float], float]
    cap: int
    caution: float
    per_second: float
    workers: int = 1

    def filling(self, seconds: float) -> int:
        """Return the largest batch that fills while its jobs still have time for it.

        A job has so many seconds. If the batch begins as late as possible, its other jobs must
        arrive in the seconds that the batch itself does not take.
        """
        sizes = range(2, self.cap + 1)
        return 1 + bisect_left(sizes, 1, key=lambda n: self._starves(n, seconds))

    def _starves(self, n: int, seconds: float) -> bool:
        return self.per_second * (seconds / self.caution - self.cost(n)) < n - 1


def end(dues: Iterable[float], due: float, wait: float, pace: Pace) -> tuple[float, float]:
    """Return in how many seconds a job is done, and in how many if its batch becomes full.

    A device is free in `wait` seconds, the job is due in `due`, those before it in `dues`. A batch
    takes no job that makes another of its jobs late, and jobs that are late anyway are given up, as
    in `worker/choice.py`. More jobs will come while it waits, so its batch may grow.
    """
    size, soonest = 0, inf
    for other in dues:
        if other >= (wait + pace.cost(1)) * pace.caution:
            wait, size, soonest = _joined(other, wait, size, soonest, pace)
    wait, size, _ = _joined(due, wait, size, soonest, pace)
    grown = min(size + pace.per_second * wait, pace.filling(due))
    return wait + pace.cost(max(size, grown)), wait + pace.cost(pace.cap)


def _joined(
    due: float, wait: float, size: int, soonest: float, pace: Pace
) -> tuple[float, int, float]:
    """Return when the batch begins that a job joins, its size then, and its soonest deadline."""
    soonest = min(soonest, due)
    is_full = size == pace.cap or (wait + pace.cost(size + 1)) * pace.caution > soonest
    if size and is_full:
        return wait + pace.cost(size) / pace.workers, 1, due
    return wait, size + 1, soonest
