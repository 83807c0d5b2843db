"""Who must not serve: workers with a broken model, and the instance if it has no other.

The last instance that is ready never leaves: wrong images, with an alert, are better than none.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Other:
    """Another instance that is ready; it is `leaving` if its own model is broken, too."""

    instance: str
    leaving: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """The workers that get no requests, and whether the instance has no healthy worker left."""

    out: frozenset[int] = frozenset()
    must_leave: bool = False


def decide(workers: Sequence[tuple[bool, bool]]) -> Decision:
    """Return who is out, from (ready, broken) of each worker.

    Broken workers are out while another is ready and not broken. Without one, the whole instance
    has to leave, and its workers serve those who still come.
    """
    broken = frozenset(place for place, (_, bad) in enumerate(workers) if bad)
    if any(ready and not bad for ready, bad in workers):
        return Decision(broken)
    return Decision(must_leave=bool(broken))


def may_leave(own: str, others: Sequence[Other]) -> bool:
    """Return whether an instance may leave: another stays.

    If all of them want to leave at once, the one with the lowest id stays.
    """
    if any(not other.leaving for other in others):
        return True
    return bool(others) and own != min((own, *(other.instance for other in others)))
