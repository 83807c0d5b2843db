"""The requests of one model in a rollout, as sums: of all, and of each owner. Arithmetic only."""

from dataclasses import dataclass, field
from math import log
from typing import Final, Literal

from safelight.guard.owners import CLUSTERS, Sample, Table
from safelight.guard.sequential import Moments

LATENCY: Final = "latency"
ERRORS: Final = "errors"
SCORE: Final = "score"
MeasureName = Literal["latency", "errors", "score"]

_RECENT = 0.1  # weight of the last request


@dataclass(slots=True)
class Arm:
    """The requests of one model: those of A since the start, those of B since the last step."""

    n: int = 0
    failures: int = 0
    in_a_row: int = 0
    sums: dict[str, Moments] = field(default_factory=dict)
    recent: float = 0.0
    """Share of the last requests that failed, roughly of ten."""
    owners: dict[str, Table] = field(default_factory=dict)
    """By measure, then by cluster of owners."""

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no requests can give."""
        if not 0 <= self.failures <= self.n or not 0 <= self.in_a_row <= self.n:
            raise ValueError("A model cannot fail more requests than it had")
        if any(not 0 <= each < CLUSTERS for table in self.owners.values() for each in table):
            raise ValueError("These are not clusters of owners")

    def add(self, *, ok: bool, seconds_per_unit: float | None, owner: int | None = None) -> None:
        """Count a request that this model served, or failed. `owner` is the owner's cluster."""
        self.n += 1
        self.failures += not ok
        self.in_a_row = 0 if ok else self.in_a_row + 1
        self.recent += _RECENT * (float(not ok) - self.recent)
        self.measure(ERRORS, float(not ok), owner)
        if ok and seconds_per_unit:
            self.measure(LATENCY, log(seconds_per_unit), owner)

    def measure(self, name: MeasureName, value: float, owner: int | None = None) -> None:
        """Add a value of a measure."""
        self.sums.setdefault(name, Moments()).add(value)
        self.learn(name, value, owner)

    def learn(self, name: MeasureName, value: float, owner: int | None) -> None:
        """Add a value to its owner's record only."""
        if owner is not None:
            self.owners.setdefault(name, {}).setdefault(owner, Moments()).add(value)

    def sample(self, name: MeasureName) -> Sample:
        """Return the values of a measure."""
        return Sample(self.sums.get(name, Moments()), self.owners.get(name, {}))

    def fade(self) -> None:
        """Let what was learned count half, so that an old record does not outweigh a new one."""
        self.n, self.failures, self.in_a_row = self.n // 2, self.failures // 2, 0
        self.sums = {name: _half(values) for name, values in self.sums.items()}
        self.owners = {
            name: {each: _half(values) for each, values in table.items() if values.n > 1}
            for name, table in self.owners.items()
        }


def _half(values: Moments) -> Moments:
    return Moments(values.n // 2, values.mean, values.squares / 2)
