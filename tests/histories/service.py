"""A service over time: what callers send, how its replicas answer, and what goes wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from safelight.metrics.metric import Metric
from tests.histories.exposition import DOWN, Counts, Flags, Floats, Grid
from tests.histories.machine import Machine

TYPES = {"make_him_old": 0.5, "add_hat": 0.3, "other": 0.2}
LARGE = 3.5  # times as long as the usual size
Extra = dict[tuple[Metric, tuple[str, ...]], Floats]


@dataclass(slots=True)
class Failing:
    """Requests that fail: their share at each step, and what callers receive."""

    share: Floats
    status: int
    error: str
    seconds: float = 0.05
    kind: str | None = None  # only of this instruction type
    device: bool = False  # they used the device
    refusal: str = ""  # the reason in `rejected_total`


@dataclass(slots=True)
class Replica:
    """One process of a service. `ready` is the number of its workers with a model."""

    instance: str
    life: Counts
    ready: Counts
    machine: Machine
    age_seconds: float = 0.0
    added: Extra = field(default_factory=dict)
    levels: dict[Metric | str, Floats] = field(default_factory=dict)
    vram: Floats | None = None
    blocked: Floats | None = None  # share of the time in which handlers block the event loop
    probe_age: Floats | None = None
    model: dict[str, Flags] = field(default_factory=dict)  # when it is not good, by its state
    canary_age: Floats | None = None  # of the last good run
    stuck: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.stuck = np.zeros(len(self.life), dtype=bool)

    @property
    def serving(self) -> Flags:
        return (self.life >= 0) & (self.ready > 0)


@dataclass(slots=True)
class Service:
    """A service of one namespace: its traffic, its speed and its replicas."""

    grid: Grid
    namespace: str
    job: str
    rate: Floats  # requests per second
    batch: Floats  # requests that a low-priority client keeps in flight
    call_seconds: Floats
    replicas: list[Replica]
    failings: list[Failing] = field(default_factory=list)
    large: float = 0.02  # share of requests for large images
    call_bytes: float = 4e8  # memory that a running call needs
    route_failing: Floats | None = None
    types: Mapping[str, float] = field(default_factory=lambda: TYPES)
    invalid: Floats | None = None

    def restart(self, number: int, minute: float, load_minutes: float, down_minutes: float) -> None:
        """Stop a replica, and start it again; its model then loads."""
        grid, replica = self.grid, self.replicas[number]
        first = grid.at(minute)
        running = min(grid.steps, first + max(0, round(down_minutes * 60 / grid.step_seconds)))
        loaded = min(grid.steps, running + max(1, round(load_minutes * 60 / grid.step_seconds)))
        replica.life[first:running] = DOWN
        replica.life[running:] = np.where(
            replica.life[running:] >= 0, replica.life[running:] + 1, replica.life[running:]
        )
        replica.ready[first:loaded] = 0

    def fail(
        self, begin: float, end: float, share: float, status: int, error: str, **more: object
    ) -> None:
        """Let a share of the requests fail from one minute until another."""
        shares = np.where(self.grid.during(begin, end), share, 0.0)
        self.failings.append(Failing(shares, status, error, **more))  # type: ignore[arg-type]

    def add(self, metric: Metric, labels: tuple[str, ...], amount: Floats, number: int = 0) -> None:
        """Add to a counter of a replica."""
        extra = self.replicas[number].added
        extra[metric, labels] = extra.get((metric, labels), self.grid.full(0)) + amount
