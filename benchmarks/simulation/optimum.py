"""The most jobs that any scheduler could finish in time, if it knew all arrivals and all noise.

All jobs are alike: job i arrives at r_i and is due at r_i + D, so who comes first is due first.
Then some best schedule has only batches of neighbours in the order of arrival:

- If job i comes before j, and j is in an earlier batch, they can change places: j's batch begins
  after r_j ≥ r_i, and i's batch ends before i is due, so before j is due.
- If a batch has jobs a and c but not b between them, then no batch has b (by the first rule), and b
  can take the place of a: it is there when c is, and is due after a.

Given its jobs, a batch begins best as soon as it can. So the least time at which v of the first i
jobs are done with k batches is the least of two: job i is not served, or it is the last of a batch
of n jobs. It depends only on the least times for the jobs before them. No scheduler is better,
whatever it knows.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np


def optimum(
    arrivals: Sequence[float],
    deadline: float,
    cost: Callable[[int], float],
    largest: int,
    factors: Sequence[float],
) -> int:
    """Return the largest number of jobs that can be done in time.

    `arrivals` rise. `cost` gives the seconds of a batch of n ≤ `largest` jobs; those of the k-th
    batch are multiplied by `factors[k]`.
    """
    noise = np.array(factors if len(set(factors)) > 1 else factors[:1])
    steady = len(noise) == 1  # then the number of batches does not matter
    most = int(min(len(arrivals), _most(arrivals, deadline, cost, largest, factors)))
    batches = 1 if steady else min(len(noise), most) + 1
    first = np.full((batches, most + 1), np.inf)
    first[0, 0] = 0.0
    rows = [first]  # the least times for the last `largest` jobs, the latest at the end
    for number, arrival in enumerate(arrivals):
        row = rows[-1].copy()
        for n in range(1, min(largest, number + 1, most) + 1):
            due = arrivals[number + 1 - n] + deadline
            before = rows[-n]
            source = before[:, :-n] if steady else before[:-1, :-n]
            ends = np.maximum(source, arrival)
            ends += cost(n) * (noise[0] if steady else noise[: batches - 1, None])
            ends[(ends > due) | np.isinf(source)] = np.inf
            target = row[:, n:] if steady else row[1:, n:]
            np.minimum(target, ends, out=target)
        rows = [*rows[-largest + 1 :], row] if largest > 1 else [row]
    return int(np.flatnonzero(np.isfinite(rows[-1]).any(axis=0)).max())


def _most(
    arrivals: Sequence[float],
    deadline: float,
    cost: Callable[[int], float],
    largest: int,
    factors: Sequence[float],
) -> float:
    """Return a bound: the whole time in batches of the best size, always as fast as the fastest."""
    fastest = min(cost(n) / n for n in range(1, largest + 1)) * min(factors)
    return (arrivals[-1] - arrivals[0] + deadline) / fastest + 1


def exhaustive(
    arrivals: Sequence[float],
    deadline: float,
    cost: Callable[[int], float],
    largest: int,
    factors: Sequence[float],
) -> int:
    """Return the same by trying every schedule; for at most about eight jobs."""

    def best(left: frozenset[int], now: float, batch: int) -> int:
        found = 0
        for n in range(1, min(largest, len(left)) + 1):
            for jobs in combinations(sorted(left), n):
                end = max(now, *(arrivals[job] for job in jobs)) + cost(n) * factors[batch]
                if end <= min(arrivals[job] for job in jobs) + deadline:
                    found = max(found, n + best(left - set(jobs), end, batch + 1))
        return found

    return best(frozenset(range(len(arrivals))), 0.0, 0)
