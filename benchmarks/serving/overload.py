"""Measure the editor: throughput compared with the raw limit, and goodput under overload.

The load is an open loop at multiples of a system's own capacity. The deadline of each request is
five service times; a service time is the time of one edit alone.
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
class LoadResult:
    """The results of one load. `wasted_ratio` is a share of the device time, NaN if unknown."""

    goodput_share: float
    late_ratio: float
    wasted_ratio: float


@dataclass(frozen=True)
class Turn:
    """The results of one system in one round."""

    capacity_per_second: float
    raw_share: float
    loads: dict[float, LoadResult]


def measure(
    systems: Iterable[System], folder: str, rounds: int, report: Callable[[str], None]
) -> dict[System, list[Turn]]:
    """Measure every system in turn, in each round."""
    results: dict[System, list[Turn]] = {system: [] for system in systems}
    for number in range(1, rounds + 1):
        report(f"edit, round {number} of {rounds}: raw limit")
        limit = raw.limit(_RAW_SECONDS, (1, EDIT_BATCH), "editor", folder)
        for system, turns in results.items():
            report(f"edit, round {number} of {rounds}: {system.name}")
            turns.append(_turn(system, limit))
    return results


def _turn(system: System, limit: dict[int, float]) -> Turn:
    with serving(system) as server:
        closed(server, EDIT_BATCH, 0.5)  # warm up
        capacity = closed(server, EDIT_BATCH, _STEADY_SECONDS)
        deadline = _SERVICE_TIMES / limit[1]
        loads = {load: _load(server, load, capacity, deadline) for load in LOADS}
    return Turn(capacity, capacity / limit[EDIT_BATCH], loads)


def _load(server: Server, load: float, capacity: float, deadline: float) -> LoadResult:
    settle(server)
    before = device_seconds(server)
    tally = flood(server, load * capacity, deadline + _STEADY_SECONDS, deadline)
    wasted = _wasted_ratio(before, device_seconds(server))
    return LoadResult(tally.goodput_per_second / capacity, tally.late_ratio, wasted)


def _wasted_ratio(before: dict[str, float], after: dict[str, float]) -> float:
    uses = {use: seconds - before.get(use, 0) for use, seconds in after.items()}
    total = sum(uses.values())
    return uses.get("deadline", 0) / total if total else nan  # NaN misses every target
