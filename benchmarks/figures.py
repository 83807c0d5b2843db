"""A measured figure beside its target, and the table of them."""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count

_LIBRARIES = (
    "fastapi",
    "uvicorn",
    "prometheus-client",
    "prometheus-fastapi-instrumentator",
    "torch",
    "diffusers",
)


@dataclass(frozen=True)
class Figure:
    """One result; without a limit it is told for comparison only."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def holds(self) -> bool:
        """Tell whether the target is reached."""
        return self.limit is None or self.value <= self.limit


def as_markdown(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield the lines of the table, under when, where and with what it was measured."""
    machine = f"{cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    yield f"Measured on {datetime.now(UTC):%Y-%m-%d} ({machine}; {libraries})."
    yield ""
    yield "| figure | measured | target | |"
    yield "|---|---|---|---|"
    for figure in figures:
        target = "" if figure.limit is None else f"≤ {figure.limit:g} {figure.unit}"
        verdict = "" if figure.limit is None else ("holds" if figure.holds else "**missed**")
        yield f"| {figure.name} | {figure.value:.3g} {figure.unit} | {target} | {verdict} |"
