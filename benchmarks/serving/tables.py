"""The results as Markdown."""

import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from statistics import median

from benchmarks.serving.capacity import CONNECTIONS, Capacity, memory, p50, p99, ready, throughput
from benchmarks.serving.overload import LOADS, Strain, Turn
from benchmarks.serving.systems import System

_PINS = Path(__file__).with_name("peers.txt")
_TOLD = ("fastapi", "uvicorn", "litserve", "ray", "bentoml", "torch", "diffusers", "pillow")


def heading() -> str:
    """Return when, where and with what it was measured."""
    pins = dict(line.split("==") for line in _PINS.read_text().splitlines() if "==" in line)
    versions = ", ".join(f"{name} {pins[name]}" for name in _TOLD)
    machine = f"{cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} ({machine}; {versions})."


def of_capacity(found: Capacity) -> Iterator[str]:
    """Yield the table of the tagger."""
    limits = ", ".join(
        f"{median(limit[size] for limit in found.raw):,.0f} in batches of {size}"
        for size in CONNECTIONS
    )
    yield f"Raw limit of the tagger, images a second: {limits}."
    yield ""
    columns = " | ".join(f"c{each}: images/s · p50 · p99 ms" for each in CONNECTIONS)
    yield f"| | {columns} | share of raw at c32 | memory MiB | ready s |"
    yield "|---" * (len(CONNECTIONS) + 4) + "|"
    for system in found.turns:
        cells = [_rate(found, system, each) for each in CONNECTIONS]
        cells += [
            f"{found.raw_share(system):.2f}",
            f"{found.typical(system, memory) / 2**20:.0f}",
            f"{found.typical(system, ready):.1f}",
        ]
        yield f"| {system.name} | {' | '.join(cells)} |"


def _rate(found: Capacity, system: System, connections: int) -> str:
    images = found.typical(system, throughput(connections))
    middle, slowest = (found.typical(system, read(connections)) * 1e3 for read in (p50, p99))
    return f"{images:,.0f} · {middle:.1f} · {slowest:.1f}"


def of_overload(found: dict[System, list[Turn]]) -> Iterator[str]:
    """Yield the table of the edit."""
    columns = " | ".join(f"asked {load:g} times" for load in LOADS)
    yield "The edit, asked multiples of each one's own capacity: goodput as a share of it · late."
    yield ""
    yield f"| | capacity: images/s at c8 | share of raw | {columns} |"
    yield "|---" * (len(LOADS) + 3) + "|"
    for system, turns in found.items():
        cells = [
            f"{median(turn.capacity_per_second for turn in turns):.1f}",
            f"{median(turn.raw_share for turn in turns):.2f}",
            *(_strain(turns, load) for load in LOADS),
        ]
        yield f"| {system.name} | {' | '.join(cells)} |"


def _strain(turns: list[Turn], load: float) -> str:
    def typical(read: Callable[[Strain], float]) -> float:
        return median(read(turn.strains[load]) for turn in turns)

    goodput, late = (
        typical(lambda each: each.goodput_share),
        typical(lambda each: each.late_ratio),
    )
    return f"{goodput:.2f} · {late:.0%}"
