"""Healthy services with their machines, before anything happens to them."""

import numpy as np

from tests.histories.exposition import UNLISTED, Floats, Grid
from tests.histories.history import World
from tests.histories.machine import Machine, usual_machine
from tests.histories.randomness import wandering
from tests.histories.service import Replica, Service

FIRST, SECOND = "instructpix2pix", "flux"
_USE = 0.6  # most of the capacity that the usual traffic of one replica needs


def traffic(grid: Grid, rng: np.random.Generator, peak: float) -> Floats:
    """Return requests per second: a curve of the day, quieter weekends, and slow changes."""
    hours = grid.times / 3600 + rng.uniform(0, 168)
    night = rng.uniform(0.02, 0.4)
    day = night + (1 - night) * np.clip(np.sin((hours % 24 - 7) / 24 * 2 * np.pi), 0, 1)
    weekend = np.where((hours // 24) % 7 >= 5, rng.uniform(0.05, 0.6), 1.0)
    factor = np.clip(wandering(rng, grid.steps, 0.2), 0.5, 1.25) / 1.25
    return np.asarray(peak * day * weekend * factor)


def usual_world(
    grid: Grid,
    rng: np.random.Generator,
    number: int,
    *,
    replicas: int = 1,
    peak: float | None = None,
    machines: int | None = None,
    namespaces: tuple[str, ...] = (FIRST,),
) -> World:
    """Return services that run undisturbed. `peak` is the requests per second of one replica."""
    hosts = [usual_machine(grid, rng) for _ in range(machines or replicas)]
    services = [
        _service(grid, rng, (number, namespace), hosts, replicas, peak) for namespace in namespaces
    ]
    return World(grid, rng, number, services, hosts, dcgm=bool(rng.random() < 0.3))


def _service(
    grid: Grid, rng: np.random.Generator, name: tuple[int, str], hosts: list[Machine],
    replicas: int, peak: float | None,
) -> Service:  # fmt: skip
    (number, namespace), port = name, 8000 if name[1] == FIRST else 8100
    call = float(rng.uniform(0.4, 1.3))
    share = _USE / len(hosts) * len(set(map(id, hosts))) / (3 if port == 8100 else 1)
    each = peak if peak is not None else share / call * 10 ** rng.uniform(-2, 0)
    age = float(rng.choice([0.0, 3600.0, 4e5]))
    running = [
        Replica(
            f"world{number}-host{place % len(hosts)}:{port + place // len(hosts)}",
            np.zeros(grid.steps, dtype=np.int64),
            np.ones(grid.steps, dtype=np.int64),
            hosts[place % len(hosts)],
            age,
        )
        for place in range(replicas)
    ]
    speed = np.asarray(call * np.clip(wandering(rng, grid.steps, 0.05), 0.9, 1.1))
    service = Service(
        grid, namespace, f"{namespace}-{number}", traffic(grid, rng, each * replicas), grid.full(0),
        speed, running, large=float(rng.uniform(0, 0.03)), call_bytes=float(rng.uniform(2e8, 3e9)),
    )  # fmt: skip
    _usual_failures(service, rng)
    return service


def _usual_failures(service: Service, rng: np.random.Generator) -> None:
    """Let callers make mistakes, and a few requests fail within the objective."""
    end = service.grid.times[-1] / 60 + 1
    service.fail(0, end, rng.uniform(0, 0.03), 422, "invalid_parameter")
    service.fail(0, end, rng.uniform(0, 0.02), 499, "cancelled", seconds=0.6, device=True)
    service.fail(0, end, rng.uniform(0, 0.0015), 500, "model_error", seconds=0.5, device=True)


def listed_during(replica: Replica, grid: Grid, begin: float, end: float, load: float) -> None:
    """Let a replica exist from one minute until another; its model loads for some minutes."""
    exists = grid.during(begin, end)
    replica.life = np.where(exists, 0, UNLISTED).astype(np.int64)
    replica.ready = grid.during(begin + load, end).astype(np.int64)
    replica.age_seconds = 0.0
