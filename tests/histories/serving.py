"""One replica as Prometheus scrapes it: requests, routes, levels, process and machine."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from tests.histories.exposition import Counts, Flags, Floats, Target
from tests.histories.load import load_of
from tests.histories.machine import expose_machine
from tests.histories.randomness import observed, spread
from tests.histories.requests import Requests
from tests.histories.service import Replica, Service

_PROBES = {"/healthz": 10, "/readyz": 10, "/metrics": 15}  # seconds between two requests
_ZERO = (
    c.GUIDANCE_OVERRIDDEN, c.WARM_UPS, c.IMAGES, c.OUTCOMES, c.REJECTED, c.WORKER_RESTARTS,
    c.OUTPUT_INVALID, c.PROMPTS_TRUNCATED, c.RECORDS, c.PROBE_FAILURES, c.LOG_LINES_LOST,
    c.DEVICE_SECONDS, c.ROLLBACKS, c.SHADOW,
)  # fmt: skip


class Serving:
    """One replica of a service that serves its share of the requests."""

    def __init__(
        self, service: Service, replica: Replica, seen: Flags, rng: np.random.Generator
    ) -> None:
        self._service, self._replica, self._rng = service, replica, rng
        self._grid, self._seconds = service.grid, service.grid.step_seconds
        self._target = Target(
            self._grid, service.job, replica.instance, replica.life, seen, replica.age_seconds,
            service.namespace,
        )  # fmt: skip
        self._load = load_of(service, replica, rng)
        machine = replica.machine
        machine.gpu_busy = np.minimum(1.0, machine.gpu_busy + self._load.busy)

    def expose(self) -> Target:
        """Return the target with its series."""
        requests = Requests(self._service, self._load, self._rng)
        self._count(requests)
        requests.expose(self._target)
        self._other_route()
        self._expose_levels()
        self._expose_process()
        self._expose_loop()
        expose_machine(self._target, self._replica.machine, self._rng)
        return self._target

    def _count(self, requests: Requests) -> None:
        """Add what is counted beside the requests, and the counters that begin at 0."""
        zero = self._grid.full(0)
        for metric, values in _begin_at_zero():
            requests.count(metric, values, zero)
        useful = self._load.busy * self._seconds * self._replica.ready
        requests.count(c.DEVICE_SECONDS, ("useful",), useful)
        requests.count(c.RECORDS, ("written",), requests.calls)
        for (metric, labels), added in self._replica.added.items():
            requests.count(metric, labels, added)
        for handler, every in _PROBES.items():
            asked = np.full(self._grid.steps, self._seconds / every)
            loads = (self._replica.ready == 0) & (handler == "/readyz")
            for status, number in (("200", ~loads * asked), ("503", loads * asked)):
                requests.count(c.HTTP_REQUESTS, (handler, "GET", status), np.round(number))

    def _other_route(self) -> None:
        """Expose a second route with little traffic, which can fail alone."""
        number = self._rng.poisson(np.where(self._replica.serving, 0.05, 0.0) * self._seconds)
        share = self._service.route_failing
        failed = self._rng.binomial(number, self._grid.full(0) if share is None else share)
        labels = {"handler": "/api/styles", "method": "GET"}
        for code, each in (("200", number - failed), ("500", failed)):
            self._target.counter(c.HTTP_REQUESTS, each, False, **labels, status=code)
        usual = self._grid.full(0.02)
        counts, sums = observed(self._rng, number, usual, 0.5, c.HTTP_SECONDS.buckets)
        self._target.histogram(c.HTTP_SECONDS, counts, sums, **labels)

    # ── Levels ───────────────────────────────────────────────────────────────────────────────────

    def _expose_levels(self) -> None:
        flying, ready = self._in_flight(), self._replica.ready
        own = {m: v for m, v in self._replica.levels.items() if not isinstance(m, str)}
        levels: dict[Metric, Floats] = {
            c.IN_FLIGHT: flying,
            c.QUEUE_DEPTH: np.maximum(0, flying - 1),
            c.WORKERS_READY: ready.astype(float),
            c.DEGRADATION_LEVEL: self._grid.full(0),
            c.CIRCUIT_OPEN: self._grid.full(0),
            c.MODEL_ASLEEP: self._grid.full(0),
            c.EXPOSITION_SECONDS: spread(self._rng, self._grid.full(0.012), 0.3),
            c.EXPOSITION_LINES: self._grid.full(1400),
            **own,
        }
        for metric, values in levels.items():
            self._target.gauge(metric, values)
        self._expose_queue(ready)
        self._expose_canary(ready)
        vram = self._vram() if self._replica.vram is None else self._replica.vram
        vram = np.where(ready > 0, vram, 0.0)
        self._target.gauge(c.VRAM_USED, np.round(vram), device="cuda:0")
        reserved = np.maximum(vram, self._cache())
        self._target.gauge(c.VRAM_RESERVED, np.round(reserved).astype(float), device="cuda:0")

    def _expose_canary(self, ready: Counts) -> None:
        """Expose what the canary knows of the model."""
        grid, states = self._grid, self._replica.model
        bad = sum(states.values(), np.zeros(grid.steps, dtype=bool))
        for state in c.MODEL_STATE.values or ():
            there = ~bad if state == "good" else states.get(state, grid.full(0) > 0)
            self._target.gauge(c.CANARY_WORKERS, (ready * there).astype(float), state=state)
        age = grid.full(30) if self._replica.canary_age is None else self._replica.canary_age
        self._target.gauge(c.CANARY_GOOD, grid.times - age)
        forced = states.get("wrong", grid.full(0) > 0)
        self._target.gauge(c.READINESS_FORCED, forced.astype(float))

    def _expose_queue(self, ready: Counts) -> None:
        """Expose the time until the work in flight is done, by priority."""
        held = np.round(self._load.held)
        flying = {"normal": np.maximum(0, self._in_flight() - held), "low": held}
        for priority, number in flying.items():
            seconds = np.where(ready > 0, number * self._service.call_seconds / 1.2, 0.0)
            self._target.gauge(c.QUEUED_WORK, seconds, priority=priority)

    def _in_flight(self) -> Floats:
        rate = self._load.normal / self._seconds
        latency = self._load.wait + self._service.call_seconds
        flying = self._rng.poisson(rate * latency) + np.round(self._load.held)
        stuck = self._replica.stuck
        arrived = np.cumsum(np.where(stuck, self._service.rate * self._seconds, 0.0))
        return np.asarray(np.where(stuck, np.minimum(64, 1 + np.floor(arrived)), flying))

    def _cache(self) -> Floats:
        """Return this replica's part of the GPU's memory, which PyTorch keeps for later tensors."""
        machine = self._replica.machine
        sharing = sum(each.machine is machine for each in self._service.replicas)
        return np.asarray((machine.gpu_used - 6e8) / sharing)

    def _vram(self) -> Floats:
        """Return PyTorch's memory: weights, the running call, and from a time on a larger size."""
        grown = self._grid.times > self._rng.uniform(0.5, 30) * 3600
        running = self._rng.random(self._grid.steps) < self._load.busy
        return np.asarray(4.2e9 + 6e8 * grown + self._service.call_bytes * running)

    def _expose_process(self) -> None:
        target, grid = self._target, self._grid
        age = grid.times - target.started
        resident = 2.5e8 + 1.5e8 * (1 - np.exp(-age / 2400)) + 2e5 * self._load.backlog
        own = {name: each for name, each in self._replica.levels.items() if isinstance(name, str)}
        levels = {
            "process_resident_memory_bytes": spread(self._rng, resident, 0.01),
            "process_open_fds": np.round(spread(self._rng, 60 + self._load.backlog, 0.1)),
            "process_max_fds": grid.full(1024),
            **own,
        }
        for name, values in levels.items():
            target.gauge(name, values)
        target.gauge(c.CGROUP_MEMORY_USED, spread(self._rng, 4 * resident, 0.05))
        target.gauge(c.CGROUP_MEMORY_LIMIT, grid.full(8e9))
        target.gauge(c.BUILD_INFO, grid.full(1), version="0.1.0", python="3.11.9")
        target.gauge(c.SERVICE_INFO, grid.full(1), namespace=self._service.namespace)
        age = grid.full(4) if self._replica.probe_age is None else self._replica.probe_age
        for probe in ("nvml", "host", "torch"):
            target.gauge(c.PROBE_TIMESTAMP, grid.times - age, probe=probe)

    def _expose_loop(self) -> None:
        """Expose the delays of the event loop: a few milliseconds, or blocks of a second."""
        usual = self._grid.full(0.002)
        blocked = usual if self._replica.blocked is None else self._replica.blocked
        late = np.minimum(0.95, spread(self._rng, blocked, 0.3)) * self._seconds
        counts = np.zeros((self._grid.steps, len(c.HTTP_LAG.buckets) + 1), dtype=np.int64)
        counts[:, 0] = np.round((self._seconds - late) / c.LOOP_BEAT_SECONDS)
        counts[:, 9] = np.ceil(late / 0.95) * (late > 0.5)
        self._target.histogram(c.HTTP_LAG, counts, late, True)


def _begin_at_zero() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Yield the counters that a service exposes at 0 from its start."""
    for metric in _ZERO:
        for values in product(*(label.values or () for label in metric.labels)):
            yield metric, values
