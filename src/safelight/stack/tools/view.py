"""The content of the screen of `safelight top`, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as its driver reports it; None for values that it does not report."""

    name: str
    utilization_ratio: float | None
    used_bytes: float | None
    total_bytes: float | None
    celsius: float | None


@dataclass(frozen=True, slots=True)
class Engine:
    """Batches, backlog and degradation of a service."""

    batch_mean: float | None
    batch_limit: float | None
    batch_sizes: dict[str, float]
    work_seconds: float
    device_shares: dict[str, float]
    degradation_level: float
    circuit_open: float
    refused: dict[str, float]


@dataclass(frozen=True, slots=True)
class View:
    """The whole screen. Rates and quantiles cover the last `seconds`."""

    model: str
    seconds: float
    workers_ready: float | None
    worker_restarts: float
    requests_per_second: float
    recent_rates: tuple[float, ...]
    failures: dict[str, float]
    latency_seconds: tuple[float | None, ...]
    queued_seconds: float | None
    engine: Engine | None
    stage_shares: dict[str, float]
    step_seconds: dict[str, float]
    steps_per_second: float
    queue_depth: float
    in_flight: float
    vram: dict[str, tuple[float, float]]
    gpus: tuple[Gpu, ...]
    cpu_ratio: float | None
    memory: tuple[float, float] | None
    sleeps: bool = False
