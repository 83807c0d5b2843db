"""A history: hours of operation of everything that one Prometheus scrapes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tests.histories import others
from tests.histories.exposition import Flags, Floats, Grid, Target
from tests.histories.machine import Machine
from tests.histories.service import Service
from tests.histories.serving import Serving


@dataclass(slots=True)
class World:
    """A service with its machines, before its requests are drawn; sometimes two services."""

    grid: Grid
    rng: np.random.Generator
    number: int
    services: list[Service]
    machines: list[Machine]
    dcgm: bool = False

    @property
    def service(self) -> Service:
        return self.services[0]

    @property
    def jobs(self) -> tuple[str, ...]:
        return tuple(service.job for service in self.services)

    def targets(self, seen: Flags) -> Iterator[Target]:
        """Serve all requests, and yield the targets with their series."""
        for service in self.services:
            for replica in service.replicas:
                yield Serving(service, replica, seen, self.rng).expose()
        if self.dcgm:
            for number, machine in enumerate(self.machines):
                yield others.dcgm(machine, seen, f"world{self.number}-gpu{number}")


@dataclass(slots=True)
class Monitoring:
    """Prometheus and what belongs to it. `seen` is False while it takes no samples."""

    grid: Grid
    seen: Flags
    alertmanagers: Floats
    rule_failures: Floats
    notification_failures: Floats
    relay_refusals: Floats

    def targets(self, rng: np.random.Generator) -> Iterator[Target]:
        """Yield the targets of the monitoring, and of another team in the same Prometheus."""
        grid, seen = self.grid, self.seen
        yield others.prometheus(grid, seen, rng, self.alertmanagers, self.rule_failures)
        yield others.alertmanager(grid, seen, self.notification_failures)
        yield others.relay(grid, seen, self.relay_refusals, rng)
        yield others.another_team(grid, seen, rng)


def usual_monitoring(grid: Grid) -> Monitoring:
    """Return a monitoring without a fault."""
    seen = np.ones(grid.steps, dtype=bool)
    return Monitoring(grid, seen, grid.full(1), grid.full(0), grid.full(0), grid.full(0))


@dataclass(frozen=True, slots=True)
class History:
    """The series of several services that one Prometheus watches for some hours."""

    grid: Grid
    namespaces: tuple[str, ...]
    rows: dict[str, str]
    names: frozenset[str]

    @property
    def hours(self) -> float:
        return self.grid.steps * self.grid.step_seconds / 3600


def record(worlds: Sequence[World], monitoring: Monitoring, rng: np.random.Generator) -> History:
    """Return the history of these worlds in one Prometheus."""
    targets = [target for world in worlds for target in world.targets(monitoring.seen)]
    targets += monitoring.targets(rng)
    rows = {key: text for target in targets for key, text in target.rows.items()}
    assert len(rows) == sum(len(target.rows) for target in targets), "two targets are the same"
    names = frozenset(each for target in targets for each in target.names)
    services = [service for world in worlds for service in world.services]
    namespaces = tuple(dict.fromkeys(service.namespace for service in services))
    return History(monitoring.grid, namespaces, rows, names)
