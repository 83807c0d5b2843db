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
    """One result, at most its limit or at least that; with neither it is for comparison only."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    least: float | None = None

    @property
    def holds(self) -> bool:
        """Tell whether the target is reached."""
        short = self.least is not None and self.value < self.least
        return not short and (self.limit is None or self.value <= self.limit)

    @property
    def target(self) -> str:
        """Return what the figure is held to, if anything."""
        if self.least is not None:
            return f"≥ {self.least:g} {self.unit}"
        return "" if self.limit is None else f"≤ {self.limit:g} {self.unit}"


def as_markdown(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield the lines of the table, under when, where and with what it was measured."""
    machine = f"{cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    yield f"Measured on {datetime.now(UTC):%Y-%m-%d} ({machine}; {libraries})."
    yield ""
    yield "| figure | measured | target | |"
    yield "|---|---|---|---|"
    for figure in figures:
        verdict = ("holds" if figure.holds else "**missed**") if figure.target else ""
        yield f"| {figure.name} | {figure.value:.3g} {figure.unit} | {figure.target} | {verdict} |"
