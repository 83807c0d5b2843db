"""Dashboard that compares the instances of a service."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    RANGE,
    SHARE,
    board,
    by,
    lines,
    panel,
    row,
)
from safelight.metrics.catalog import (
    BUILD_INFO,
    DEVICE,
    ERROR,
    GPU,
    GPU_UTILIZATION,
    HOST_CPU,
    MODEL_INFO,
    MODEL_LOAD_SECONDS,
    MODEL_WARM_UP_SECONDS,
    QUEUED_WORK,
    REQUEST_SECONDS,
    REQUESTS,
    STEP_SECONDS,
    VRAM_USED,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import Thresholds

_EACH = (INSTANCE,)
_P95 = NOW.quantile(0.95, REQUEST_SECONDS, _EACH)


def fleet(limits: Thresholds) -> Board:
    """Return the dashboard that compares instances."""
    return board(
        "Fleet",
        "Does one instance differ from the others, in speed, load, resources or version?",
        row("Latency", *_latency(limits)),
        row("Load", *_load()),
        row("Resources", *_resources()),
        row("Versions", *_versions()),
    )


def _latency(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "P95 by instance",
            "If one differs, it has a slower GPU, a longer queue, or other callers.",
            seconds,
            Query(_P95, by(INSTANCE), exemplars=True),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "P95 of a step, by instance",
            "Time of a denoising step, without queue and network.",
            seconds,
            Query(NOW.quantile(0.95, STEP_SECONDS, _EACH), by(INSTANCE)),
        ),
        lines(
            "Slowest instance compared with the fastest",
            "P95 of the slowest divided by P95 of the fastest. 100 % means that all are equal.",
            SHARE,
            Query(f"max({_P95} >= 0) / min({_P95} > 0)", "ratio"),
        ),
    )


def _load() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests by instance",
            "Equal lines mean that the load balancer distributes evenly.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _EACH), by(INSTANCE)),
        ),
        lines(
            "Failures by instance",
            "Share of failed requests.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}, _EACH), by(INSTANCE)),
        ),
        lines(
            "Queued work, by instance",
            "Estimated time until all queued and running requests are done.",
            QUEUED_WORK.unit,
            Query(NOW.select(QUEUED_WORK), by(INSTANCE)),
        ),
        panel(
            Shape.BARS,
            "Number of requests, by instance",
            "In the time range.",
            COUNT,
            Query(f"sort_desc({RANGE.increase(REQUESTS, _EACH)})", by(INSTANCE)),
        ),
    )


def _resources() -> tuple[Panel, ...]:
    return (
        lines(
            "Workers by instance",
            "Worker processes that have loaded the model.",
            COUNT,
            Query(NOW.select(WORKERS_READY), by(INSTANCE)),
        ),
        lines(
            "Utilization by instance",
            "Share of the time in which GPU and CPU are used.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} GPU {by(GPU)}"),
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} CPU"),
        ),
        lines(
            "PyTorch memory by instance",
            "If only one instance grows, it leaks memory.",
            VRAM_USED.unit,
            Query(NOW.select(VRAM_USED), f"{by(INSTANCE)} {by(DEVICE)}"),
            needs=NVIDIA_GPU,
        ),
    )


def _versions() -> tuple[Panel, ...]:
    return (
        lines(
            "Load time",
            "Time to load the model, and the part of its warm-up call.",
            MODEL_LOAD_SECONDS.unit,
            Query(NOW.select(MODEL_LOAD_SECONDS), f"{by(INSTANCE)} load"),
            Query(NOW.select(MODEL_WARM_UP_SECONDS), f"{by(INSTANCE)} warm-up"),
        ),
        panel(
            Shape.TABLE,
            "Models",
            "Model of each instance. Different precisions have different speeds.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
        panel(
            Shape.TABLE,
            "Safelight",
            "Versions of Safelight and Python of each instance.",
            COUNT,
            Query(NOW.select(BUILD_INFO), ""),
        ),
    )
