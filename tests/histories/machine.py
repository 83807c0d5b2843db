"""Machines and their GPUs over time. Several services and replicas can share one."""

from dataclasses import dataclass, field

import numpy as np

from safelight.metrics import catalog as c
from tests.histories.exposition import Floats, Grid, Target
from tests.histories.randomness import spread, wandering

GIB = 2.0**30


@dataclass(slots=True)
class Machine:
    """What a machine's probes read at each step. `busy` is filled in by the replicas on it."""

    grid: Grid
    gpu_busy: Floats
    gpu_used: Floats
    gpu_total: float
    celsius: Floats
    throttled: dict[str, Floats]
    corrected: Floats
    uncorrected: Floats
    cpu: Floats
    memory_used: Floats
    memory_total: float
    disk_busy: Floats
    filesystem_used: Floats
    filesystem_size: float
    uuid: str
    gpu_missing: np.ndarray[tuple[int], np.dtype[np.bool_]]
    shown: dict[str, Floats] = field(default_factory=dict)


def usual_machine(grid: Grid, rng: np.random.Generator) -> Machine:
    """Return a healthy machine: some are nearly idle, others busy."""
    steps = grid.steps
    size = float(rng.choice([16, 24, 48, 80])) * GIB
    memory = float(rng.choice([32, 64, 128])) * GIB
    disk = float(rng.choice([100, 400, 1000])) * GIB
    held = rng.uniform(0.35, 0.97)  # PyTorch's cache keeps what it once had
    growth = np.minimum(1, 0.8 + 0.2 * grid.times / 3600)
    return Machine(
        grid=grid,
        gpu_busy=grid.full(0.0),
        gpu_used=size * held * growth * np.exp(rng.normal(0, 0.001, steps)),
        gpu_total=size,
        celsius=grid.full(rng.uniform(38, 50)),
        throttled={reason: grid.full(0) for reason in c.THROTTLE.values or ()},
        corrected=(rng.random(steps) < 0.0005).astype(float),
        uncorrected=grid.full(0),
        cpu=np.clip(rng.uniform(0.05, 0.5) * wandering(rng, steps, 0.25), 0.01, 0.8),
        memory_used=memory
        * rng.uniform(0.2, 0.75)
        * np.clip(wandering(rng, steps, 0.03), 0.9, 1.1),
        memory_total=memory,
        disk_busy=np.clip(0.04 * wandering(rng, steps, 0.6), 0, 0.5),
        filesystem_used=_filling(grid, rng, disk),
        filesystem_size=disk,
        uuid=f"GPU-{rng.integers(10**9):09d}",
        gpu_missing=np.zeros(steps, dtype=bool),
    )


def _calm(rng: np.random.Generator, steps: int, part: float) -> Floats:
    return np.clip(wandering(rng, steps, part), 0.9, 1.1)


def _filling(grid: Grid, rng: np.random.Generator, size: float) -> Floats:
    """Return a file system with logs that grow until they are rotated, and one new model."""
    hours = grid.times / 3600
    logs = 0.01 * size * ((hours + rng.uniform(0, 24)) % 24) / 24
    model = np.where(hours > rng.uniform(1, 40), min(9 * GIB, 0.05 * size), 0.0)
    return np.asarray(size * rng.uniform(0.2, 0.72) + logs + model)


def expose_machine(target: Target, machine: Machine, rng: np.random.Generator) -> None:
    """Expose what the probes of a target on this machine read."""
    _expose_gpu(target, machine, rng)
    used, size = machine.memory_used, machine.grid.full(machine.memory_total)
    target.gauge(c.HOST_CPU, np.minimum(1.0, spread(rng, machine.cpu, 0.05)))
    target.gauge(c.HOST_MEMORY_USED, np.minimum(size, spread(rng, used, 0.003)))
    target.gauge(c.HOST_MEMORY_TOTAL, size)
    busy = np.clip(spread(rng, machine.disk_busy, 0.2), 0, 1) * machine.grid.step_seconds
    target.gauge(c.HOST_DISK_BUSY, 1e5 + np.cumsum(busy), disk="nvme0n1")
    target.gauge(c.HOST_FILESYSTEM_USED, np.round(machine.filesystem_used), mountpoint="/")
    target.gauge(c.HOST_FILESYSTEM_SIZE, machine.grid.full(machine.filesystem_size), mountpoint="/")


def _expose_gpu(target: Target, machine: Machine, rng: np.random.Generator) -> None:
    gone, gpu, steps = machine.gpu_missing, "0", machine.grid.steps
    busy = np.clip(machine.gpu_busy + rng.normal(0, 0.02, steps), 0, 1)
    heat = machine.celsius + 30 * busy + rng.normal(0, 1, steps)
    for metric, values in (
        (c.GPU_UTILIZATION, np.round(busy, 2)),
        (c.GPU_MEMORY_BUSY, np.round(0.6 * busy, 2)),
        (c.GPU_MEMORY_USED, np.minimum(machine.gpu_total, machine.gpu_used)),
        (c.GPU_MEMORY_TOTAL, machine.grid.full(machine.gpu_total)),
        (c.GPU_TEMPERATURE, np.round(heat)),
        (c.GPU_POWER, 70 + 230 * busy),
        (c.GPU_ENERGY, 1e7 + np.cumsum((70 + 230 * busy) * machine.grid.step_seconds)),
    ):
        target.gauge(metric, np.where(gone, np.nan, values), gpu=gpu)
    info = {"uuid": machine.uuid, "name": "NVIDIA L4", "driver": "580.65.06"}
    target.gauge(c.GPU_INFO, np.where(gone, np.nan, 1.0), gpu=gpu, **info)
    for clock, hertz in (("sm", 1.7e9), ("memory", 9.5e9)):
        target.gauge(c.GPU_CLOCK, np.where(gone, np.nan, hertz), gpu=gpu, clock=clock)
    throttled = {**machine.throttled, "power_cap": (busy > 0.95).astype(float)}
    for reason, flags in throttled.items():
        target.gauge(c.GPU_THROTTLED, np.where(gone, np.nan, flags), gpu=gpu, reason=reason)
    for kind, errors in (("corrected", machine.corrected), ("uncorrected", machine.uncorrected)):
        total = np.where(gone, np.nan, np.cumsum(errors))
        target.gauge(c.GPU_ECC_ERRORS, total, gpu=gpu, kind=kind)
