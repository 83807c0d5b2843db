"""The edit: throughput beside the raw limit, and what is left of it when far too much is asked.

The load is open: requests come at multiples of a system's own capacity, whatever becomes of those
before, and each has a deadline of five service times, a service time being that of one edit alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import nan

from benchmarks.serving import raw
from benchmarks.serving.flood import closed, flood, settle
from benchmarks.serving.servers import Server, device_seconds, serving
from benchmarks.serving.systems import System
from benchmarks.serving.task import EDIT_BATCH

LOADS = (0.5, 1.0, 2.0, 5.0)
_SERVICE_TIMES = 5
_STEADY_SECONDS = 3.0
_RAW_SECONDS = 1.5


@dataclass(frozen=True)
class Strain:
    """What became of a load; `wasted_ratio` is of the device's time, where the system tells it."""

    goodput_share: float
    late_ratio: float
    wasted_ratio: float


@dataclass(frozen=True)
class Turn:
    """What one system did in one round."""

    capacity_per_second: float
    raw_share: float
    strains: dict[float, Strain]


def measure(
    systems: Iterable[System], folder: str, rounds: int, say: Callable[[str], None]
) -> dict[System, list[Turn]]:
    """Return what the systems did, in rounds in which each has its turn."""
    found: dict[System, list[Turn]] = {system: [] for system in systems}
    for number in range(1, rounds + 1):
        say(f"edit, round {number} of {rounds}: raw limit")
        limit = raw.limit(_RAW_SECONDS, (1, EDIT_BATCH), "editor", folder)
        for system, turns in found.items():
            say(f"edit, round {number} of {rounds}: {system.name}")
            turns.append(_turn(system, limit))
    return found


def _turn(system: System, limit: dict[int, float]) -> Turn:
    with serving(system) as server:
        closed(server, EDIT_BATCH, 0.5)  # to warm it
        capacity = closed(server, EDIT_BATCH, _STEADY_SECONDS)
        deadline = _SERVICE_TIMES / limit[1]
        strains = {load: _strain(server, load, capacity, deadline) for load in LOADS}
    return Turn(capacity, capacity / limit[EDIT_BATCH], strains)


def _strain(server: Server, load: float, capacity: float, deadline: float) -> Strain:
    settle(server)
    before = device_seconds(server)
    tally = flood(server, load * capacity, deadline + _STEADY_SECONDS, deadline)
    wasted = _wasted_ratio(before, device_seconds(server))
    return Strain(tally.goodput_per_second / capacity, tally.late_ratio, wasted)


def _wasted_ratio(before: dict[str, float], after: dict[str, float]) -> float:
    spent = {use: seconds - before.get(use, 0) for use, seconds in after.items()}
    total = sum(spent.values())
    return spent.get("deadline", 0) / total if total else nan  # it reaches no target
