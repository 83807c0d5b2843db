"""The board of the fleet: the same figure of every node, side by side."""

from dataclasses import replace

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CARD,
    COUNT,
    NOW,
    PER_SECOND,
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
    """Return the board that compares nodes."""
    return board(
        "Fleet",
        "Which node is slower, fuller or emptier than its siblings, and does it run the same?",
        row("Latency", *_latency(limits)),
        row("Load", *_load()),
        row("Resources", *_resources()),
        row("What runs", *_runs()),
    )


def _latency(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "P95 of each node",
            "A node that stands apart has a slower card, a fuller queue, or other callers.",
            seconds,
            Query(_P95, by(INSTANCE), exemplars=True),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Step of each node",
            "P95 of a denoising step: the card itself, without queue and network.",
            seconds,
            Query(NOW.quantile(0.95, STEP_SECONDS, _EACH), by(INSTANCE)),
        ),
        lines(
            "Slowest node against the fastest",
            "P95 of one over P95 of the other: 100 % is a fleet of equals.",
            SHARE,
            Query(f"max({_P95} >= 0) / min({_P95} > 0)", "spread"),
        ),
    )


def _load() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests of each node",
            "Lines that lie together are a load balancer that shares fairly.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _EACH), by(INSTANCE)),
        ),
        lines(
            "Failures of each node",
            "Share of requests that failed, of each node.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}, _EACH), by(INSTANCE)),
        ),
        lines(
            "Work that waits on each node",
            "Predicted time until what each node has is done.",
            QUEUED_WORK.unit,
            Query(NOW.select(QUEUED_WORK), by(INSTANCE)),
        ),
        panel(
            Shape.BARS,
            "Requests of each node, whole",
            "Over the time shown.",
            COUNT,
            Query(
                f"sort_desc({replace(NOW, window='$__range').increase(REQUESTS, _EACH)})",
                by(INSTANCE),
            ),
        ),
    )


def _resources() -> tuple[Panel, ...]:
    return (
        lines(
            "Workers of each node",
            "Worker processes with the model loaded.",
            COUNT,
            Query(NOW.select(WORKERS_READY), by(INSTANCE)),
        ),
        lines(
            "Compute of each node",
            "The cards' share of time in use, and the processor's.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} card {by(GPU)}"),
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} processor"),
        ),
        lines(
            "Torch's memory of each node",
            "Nodes of one model should hold alike; one that climbs alone leaks.",
            VRAM_USED.unit,
            Query(NOW.select(VRAM_USED), f"{by(INSTANCE)} {by(DEVICE)}"),
            needs=CARD,
        ),
    )


def _runs() -> tuple[Panel, ...]:
    return (
        lines(
            "Time to load",
            "How long each node's model took to load, and of it the first call.",
            MODEL_LOAD_SECONDS.unit,
            Query(NOW.select(MODEL_LOAD_SECONDS), f"{by(INSTANCE)} load"),
            Query(NOW.select(MODEL_WARM_UP_SECONDS), f"{by(INSTANCE)} first call"),
        ),
        panel(
            Shape.TABLE,
            "Models",
            "What each node serves: two precisions in one fleet explain two speeds.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
        panel(
            Shape.TABLE,
            "Versions",
            "Which version of Safelight each node runs.",
            COUNT,
            Query(NOW.select(BUILD_INFO), ""),
        ),
    )
