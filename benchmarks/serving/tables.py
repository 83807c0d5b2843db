"""Write the results as Markdown tables."""

import platform
from collections.abc import Callable, Iterator
from os import cpu_count
from pathlib import Path
from statistics import median

from benchmarks.published import origin
from benchmarks.serving.capacity import CONNECTIONS, Capacity, memory, p50, p99, ready, throughput
from benchmarks.serving.overload import LOADS, LoadResult, Turn
from benchmarks.serving.systems import System

_PINS = Path(__file__).with_name("peers.txt")
_LIBRARIES = ("fastapi", "uvicorn", "litserve", "ray", "bentoml", "torch", "diffusers", "pillow")


def heading() -> str:
    """Return the date, the machine and the versions of the measurement."""
    pins = dict(line.split("==") for line in _PINS.read_text().splitlines() if "==" in line)
    versions = ", ".join(f"{name} {pins[name]}" for name in _LIBRARIES)
    machine = f"{cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"{origin()} ({machine}; {versions})."


def of_capacity(results: Capacity) -> Iterator[str]:
    """Yield the table of the tagger."""
    limits = ", ".join(
        f"{median(limit[size] for limit in results.raw):,.0f} in batches of {size}"
        for size in CONNECTIONS
    )
    yield f"Raw limit of the tagger, images per second: {limits}."
    yield ""
    columns = " | ".join(f"c{number}: images/s · p50 · p99 ms" for number in CONNECTIONS)
    yield f"| | {columns} | share of raw at c32 | memory MiB | ready s |"
    yield "|---" * (len(CONNECTIONS) + 4) + "|"
    for system in results.turns:
        cells = [_rate(results, system, number) for number in CONNECTIONS]
        cells += [
            f"{results.raw_share(system):.2f}",
            f"{results.typical(system, memory) / 2**20:.0f}",
            f"{results.typical(system, ready):.1f}",
        ]
        yield f"| {system.name} | {' | '.join(cells)} |"


def _rate(results: Capacity, system: System, connections: int) -> str:
    images = results.typical(system, throughput(connections))
    median_ms, p99_ms = (results.typical(system, read(connections)) * 1e3 for read in (p50, p99))
    return f"{images:,.0f} · {median_ms:.1f} · {p99_ms:.1f}"


def of_overload(results: dict[System, list[Turn]]) -> Iterator[str]:
    """Yield the table of the edit."""
    columns = " | ".join(f"load {load:g} times" for load in LOADS)
    yield "The edit, at multiples of each system's capacity: goodput as a share of it · late."
    yield ""
    yield f"| | capacity: images/s at c8 | share of raw | {columns} |"
    yield "|---" * (len(LOADS) + 3) + "|"
    for system, turns in results.items():
        cells = [
            f"{median(turn.capacity_per_second for turn in turns):.1f}",
            f"{median(turn.raw_share for turn in turns):.2f}",
            *(_load(turns, load) for load in LOADS),
        ]
        yield f"| {system.name} | {' | '.join(cells)} |"


def _load(turns: list[Turn], load: float) -> str:
    def typical(read: Callable[[LoadResult], float]) -> float:
        return median(read(turn.loads[load]) for turn in turns)

    goodput = typical(lambda result: result.goodput_share)
    late = typical(lambda result: result.late_ratio)
    return f"{goodput:.2f} · {late:.0%}"
