"""Run every benchmark, print the table, and exit 1 if a target is missed.

`python -m benchmarks http steps` runs only those two.
"""

import sys
from collections.abc import Callable, Iterator

from benchmarks import (
    background,
    exposition,
    gpu,
    http,
    instructions,
    keeping,
    process,
    processes,
    quality,
    simulation,
    steps,
)
from benchmarks.measurements import SHORT, Measurement, as_markdown, verdict

PARTS: dict[str, Callable[[], Iterator[Measurement]]] = {
    "http": http.measure,
    "instructions": instructions.measure,
    "steps": steps.measure,
    "exposition": exposition.measure,
    "process": process.measure,
    "processes": processes.measure,
    "background": background.measure,
    "quality": quality.measure,
    "keeping": keeping.measure,
    "gpu": gpu.measure,
    "simulation": simulation.measure,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    if not PARTS.keys() >= set(names):
        print(f"The benchmarks are: {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    measurements: list[Measurement] = []
    for name in names or PARTS:
        measurements += _measure(name)
    print("\n".join(as_markdown(measurements)))
    return verdict(measurements)


def _measure(name: str) -> list[Measurement]:
    """Run one benchmark; in the short form, run it once more if a target was missed."""
    print(f"measuring {name} …", file=sys.stderr, flush=True)
    measurements = list(PARTS[name]())
    if SHORT and not all(measurement.holds for measurement in measurements):
        print(f"measuring {name} again: a target was missed …", file=sys.stderr, flush=True)
        measurements = list(PARTS[name]())
    return measurements


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
