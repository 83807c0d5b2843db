"""What the requests of each instruction type cost, from their device time in the records.

docs/engine.md has the formula. Idle time belongs to no request: only the metrics know it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safelight.records.rows import AssessedRequest

_HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Device time of one instruction type; None is unknown.

    `good` counts the requests that succeeded, of those whose device time is known. Failed requests
    are not all waste: a good one can have a lost first attempt.
    """

    name: str
    good: int
    device_seconds: float
    failed_seconds: float
    seconds_per_good: float | None
    price_per_good: float | None


def price_of(device_seconds: float | None, gpu_hour_price: float | None) -> float | None:
    """Return the price of device time; None if the time or the price of an hour is unknown."""
    if device_seconds is None or gpu_hour_price is None:
        return None
    return device_seconds / _HOUR_SECONDS * gpu_hour_price


def costs(requests: Iterable[AssessedRequest], gpu_hour_price: float | None) -> tuple[Cost, ...]:
    """Return the cost of each type with a known device time, the largest first."""
    by_type: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for each in requests:
        if each.device_seconds is not None:
            by_type[each.instruction_type].append((each.device_seconds, each.succeeded))
    found = [_cost(name, spent, gpu_hour_price) for name, spent in by_type.items()]
    return tuple(sorted(found, key=lambda cost: (-cost.device_seconds, cost.name)))


def _cost(name: str, spent: Sequence[tuple[float, bool]], gpu_hour_price: float | None) -> Cost:
    total = sum(seconds for seconds, _ in spent)
    failed = sum(seconds for seconds, succeeded in spent if not succeeded)
    good = sum(succeeded for _, succeeded in spent)
    each = total / good if good else None
    return Cost(name, good, total, failed, each, price_of(each, gpu_hour_price))
