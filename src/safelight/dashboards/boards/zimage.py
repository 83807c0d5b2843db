"""Dashboard of Z-Image and similar distilled models, with the article's panels."""

from safelight.dashboards.board import Board, Panel, Query
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    SHARE,
    board,
    by,
    lines,
    on_cards,
    row,
)
from safelight.dashboards.boards.quality import ratings
from safelight.metrics.catalog import (
    ERROR,
    GPU,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_UTILIZATION,
    HOST_CPU,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    REQUEST_MAX,
    REQUEST_SECONDS,
    REQUESTS,
    STEPS,
    SUCCESSES,
)
from safelight.metrics.promql import INSTANCE
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import FAMILIES, Thresholds
from safelight.rules.uids import GPUS, QUALITY, REQUEST

_ON_GPU = f"{by(INSTANCE)} GPU {by(GPU)}"


def zimage(limits: Thresholds) -> Board:
    """Return the dashboard of a distilled model such as Z-Image-Turbo."""
    limits = FAMILIES["zimage"].overridden_by(limits)
    return board(
        "safelight-z-image",
        "Z-Image",
        "Does the model make images fast enough, and with which resources?",
        row("Resources", GPUS, *_resources(limits)),
        row("Traffic", REQUEST, *_traffic(limits)),
        row("Results", QUALITY, *_results(limits)),
        first="zimage",
        is_fixed=True,
    )


def _resources(limits: Thresholds) -> tuple[Panel, ...]:
    memory = on_cards(lambda q: q.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL))
    return (
        lines(
            "Is the GPU's memory full? (zimage_gpu_mem_usage)",
            "Share used by all processes. The line is the limit of GpuMemoryHigh.",
            SHARE,
            Query(on_cards(lambda q: q.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL)), _ON_GPU),
            limit=limits.gpu_memory_high_ratio,
            needs=NVIDIA_GPU,
        ),
        lines(
            "Is the GPU busy?",
            "Share of the time in which a kernel ran. The line is the limit of GpuUtilizationHigh.",
            SHARE,
            Query(on_cards(lambda q: q.select(GPU_UTILIZATION)), _ON_GPU),
            limit=limits.gpu_busy_ratio,
            needs=NVIDIA_GPU,
        ),
        lines(
            "Are the host's memory and CPUs used up?",
            "Used shares. The line is the limit of HostMemoryHigh.",
            SHARE,
            Query(memory, f"{by(INSTANCE)} memory"),
            Query(on_cards(lambda q: q.select(HOST_CPU)), f"{by(INSTANCE)} CPU"),
            limit=limits.host_ratio,
        ),
    )


def _traffic(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "How long do callers wait?",
            "Mean and true maximum of the last minutes. The line is the limit of RequestP95High.",
            REQUEST_SECONDS.unit,
            Query(NOW.mean(REQUEST_SECONDS), "mean"),
            Query(f"max({NOW.select(REQUEST_MAX)})", "maximum"),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "How many requests arrive? (QPS)",
            "Requests per second.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS), "requests"),
        ),
        lines(
            "How many requests fail?",
            "Share of failed requests, including callers' mistakes.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}), "failures"),
        ),
    )


def _results(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "How many requests succeed?",
            "Share of requests without an error. The line is the limit of SuccessRatioLow.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "success"),
            limit=limits.success_ratio,
        ),
        ratings(),
        lines(
            "How many steps does a call run?",
            "A distilled model needs about eight. More steps do not improve the image.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
    )
