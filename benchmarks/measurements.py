"""Measurements with their targets, and their table.

With `SHORT=1` in the environment (CI) every benchmark runs one round. Because of the noise of one
round, ratios then only need to reach 0.9 of their target. Absolute times have no target then, and
neither has a ratio between two servers under load: two short rounds on shared cores differed by up
to 60 %.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from os import cpu_count

from benchmarks.published import origin

SHORT = os.environ.get("SHORT") == "1"
_TOLERANCE = 0.9 if SHORT else 1.0
_TIMES = ("s", "ms", "µs", "/s")
_LIBRARIES = (
    "fastapi",
    "uvicorn",
    "prometheus-client",
    "prometheus-fastapi-instrumentator",
    "torch",
    "diffusers",
)


def rounds(number: int) -> int:
    """Return how many rounds to measure: `number`, or one in the short form."""
    return 1 if SHORT else number


@dataclass(frozen=True)
class Measurement:
    """One result. Its target is at most `limit` or at least `least`, if one of them is set.

    A `noisy` one is judged only in the full form.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: float | None = None
    noisy: bool = False

    @property
    def judged(self) -> bool:
        """Return whether the measurement has a target in this form of the benchmark."""
        has_target = self.limit is not None or self.least is not None
        return has_target and not (SHORT and (self.noisy or self.unit in _TIMES))

    @property
    def holds(self) -> bool:
        """Return whether the target is reached."""
        if not self.judged:
            return True
        if self.least is not None and self.value < self.least * _TOLERANCE:
            return False
        return self.limit is None or self.value <= self.limit / _TOLERANCE

    @property
    def target(self) -> str:
        """Return the target as text, empty if there is none."""
        if self.least is not None:
            return f"≥ {self.least:g} {self.unit}"
        return "" if self.limit is None else f"≤ {self.limit:g} {self.unit}"


def rows(measurements: Iterable[Measurement]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| measurement | value | target | |"
    yield "|---|---|---|---|"
    for one in measurements:
        verdict = ("holds" if one.holds else "**missed**") if one.judged else ""
        yield f"| {one.name} | {one.value:.3g} {one.unit} | {one.target} | {verdict} |"


def as_markdown(measurements: Iterable[Measurement]) -> Iterator[str]:
    """Yield the lines of the table, after the date, the machine and the versions."""
    machine = f"{cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    yield f"{origin()} ({machine}; {libraries})."
    yield ""
    yield from rows(measurements)


def verdict(measurements: Iterable[Measurement]) -> int:
    """Print which targets were missed; return the exit code: 1 if any was."""
    missed = [measurement.name for measurement in measurements if not measurement.holds]
    print(f"\n{'All targets hold.' if not missed else 'Missed: ' + ', '.join(missed) + '.'}")
    return 1 if missed else 0
