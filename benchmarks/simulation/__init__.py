"""Compare the goodput of admission and batching under overload with the best possible.

The device is simulated in virtual time; policies, engine, and the worker's stage are the real ones.
`optimum.py` knows all arrivals and all noise.
"""

import logging
import sys
from collections.abc import Iterator
from itertools import product, starmap

import structlog

from benchmarks.measurements import SHORT, Measurement
from benchmarks.simulation.cells import Cell, Result, simulate

JITTERS, DEADLINES, LOADS = (0.0, 0.1, 0.3), (2, 5, 10), (1, 1.2, 2, 5)
_LEAST, _LATE = 0.97, 0.01
_SEEDS, _SERVICE_TIMES = ((1,), 40.0) if SHORT else ((1, 2, 3), 100.0)


def measure() -> Iterator[Measurement]:
    """Print the table; yield its worst values without noise at 5 service times or more.

    The optimum knows the future. At 2 service times, or with noise, that helps it most.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    results = {cell: _mean(cell) for cell in starmap(Cell, product(JITTERS, DEADLINES, LOADS))}
    print("\n".join(_table(results)), file=sys.stderr)
    steady = {
        cell: result
        for cell, result in results.items()
        if cell.jitter == 0 and cell.deadline >= 5 and cell.load > 1
    }
    least = min(result.of_optimum for result in steady.values())
    late = max(result.late for result in steady.values())
    name = "goodput under overload / optimum, without jitter"
    yield Measurement(name, least, "times", least=_LEAST)
    yield Measurement("… late, of those accepted", late, "times", limit=_LATE)
    least = min(result.of_optimum for result in results.values())
    yield Measurement("… the worst of all cells", least, "times")


def _mean(cell: Cell) -> Result:
    """Return the means over the seeds."""
    results = [simulate(cell, service_times=_SERVICE_TIMES, seed=seed) for seed in _SEEDS]
    sums = (sum(values) for values in zip(*map(_values, results), strict=True))
    return Result(*(total / len(results) for total in sums))


def _values(result: Result) -> tuple[float, float, float, float]:
    return result.of_optimum, result.of_capacity, result.late, result.wasted


def _table(results: dict[Cell, Result]) -> Iterator[str]:
    """Yield the lines of the table: goodput of the optimum, late, wasted."""
    yield "| jitter | deadline | " + " | ".join(f"load {load:g}" for load in LOADS) + " |"
    yield "|---|---|" + "---|" * len(LOADS)
    for jitter, deadline in product(JITTERS, DEADLINES):
        row = (results[Cell(jitter, deadline, load)] for load in LOADS)
        cells = " | ".join(
            f"{r.of_optimum:.3f}, {r.late:.1%}, {r.wasted:.1%}".replace("%", " %") for r in row
        )
        yield f"| {jitter:.0%} | {deadline} | {cells} |".replace("%", " %").replace("  %", " %")
