"""Random histories of healthy services; several share one Prometheus, which is quicker."""

from dataclasses import dataclass

import numpy as np

from tests.histories.events import EVENTS
from tests.histories.exposition import Grid
from tests.histories.history import History, Monitoring, World, record, usual_monitoring
from tests.histories.service import Service
from tests.histories.worlds import FIRST, SECOND, usual_world

STEP_SECONDS = 60
_MOST_USE = 0.7  # of the time of a replica
TOGETHER = 8  # services in one Prometheus
_HOURS = (6, 12, 6, 24, 12, 48, 6, 36)  # of one history after the other
_TWO = 6  # each sixth Prometheus has hosts with two services


@dataclass(frozen=True, slots=True)
class Told:
    """What happened to one service, in words."""

    name: str
    jobs: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Healthy:
    """One history of several services to which nothing happened that needs anybody."""

    history: History
    told: tuple[Told, ...]
    gaps: str

    @property
    def hours(self) -> float:
        """Return the hours of all services together."""
        return self.history.hours * len(self.told)


def length_hours(number: int) -> int:
    """Return the hours of a history."""
    return _HOURS[number % len(_HOURS)]


def healthy(seed: int, number: int, hours: float | None = None) -> Healthy:
    """Return a history; the first event of its services goes through all kinds."""
    rng = np.random.default_rng([seed, number, 1])
    chosen = hours or length_hours(number)
    grid = Grid(STEP_SECONDS, int(chosen * 3600 / STEP_SECONDS))
    monitoring = usual_monitoring(grid)
    gaps = _gaps(monitoring, rng)
    both = number % _TWO == _TWO - 1
    worlds, told = [], []
    for place in range(TOGETHER):
        world = _world(grid, rng, place, both=both)
        told.append(_happening(world, rng, number * TOGETHER + place))
        worlds.append(world)
    return Healthy(record(worlds, monitoring, rng), tuple(told), gaps)


def _happening(world: World, rng: np.random.Generator, number: int) -> Told:
    names = list(EVENTS)
    first = names[number % len(names)]
    more = rng.choice(names, int(world.grid.steps / 1440) + 1, replace=False)
    chosen = sorted({first, *map(str, more)}, key=names.index)
    shape = _shape(world)
    words = [EVENTS[name](world, rng) for name in chosen]
    for service in world.services:
        _within_capacity(service)
    return Told(f"{number}: {first}", world.jobs, (shape, *words))


def _within_capacity(service: Service) -> None:
    """Let callers send no more than the replicas can answer that are ready at the time."""
    ready = np.sum([each.serving for each in service.replicas], axis=0)
    most = np.where(ready > 0, _MOST_USE * ready / service.call_seconds, np.inf)
    service.rate = np.minimum(service.rate, most)


def _gaps(monitoring: Monitoring, rng: np.random.Generator) -> str:
    """Take no samples for some minutes, about once a day."""
    last = monitoring.grid.times[-1] / 60
    words = []
    for _ in range(int(rng.poisson(last / 1440))):
        begin, length = rng.uniform(20, last - 20), rng.uniform(1, 9)
        monitoring.seen[monitoring.grid.during(begin, begin + length)] = False
        words.append(f"no samples for {length:.0f} minutes from minute {begin:.0f}")
    return ", ".join(words)


def _world(grid: Grid, rng: np.random.Generator, number: int, *, both: bool) -> World:
    if both:
        return usual_world(grid, rng, number, namespaces=(FIRST, SECOND))
    if rng.random() < 0.15:  # three replicas on one machine
        return usual_world(grid, rng, number, replicas=3, machines=1)
    return usual_world(grid, rng, number, replicas=int(rng.choice([1, 1, 1, 2, 3])))


def _shape(world: World) -> str:
    service = world.service
    return (
        f"{len(service.replicas)} replicas on {len(world.machines)} machines, "
        f"{service.rate.mean():.3f} requests/s of {service.call_seconds.mean():.2f} s"
    )
