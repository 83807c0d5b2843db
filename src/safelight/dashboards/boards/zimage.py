"""Dashboard of Z-Image and similar models that generate images in a few steps."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    NVIDIA_GPU,
    PER_SECOND,
    RANGE,
    SHARE,
    TIMES,
    board,
    by,
    lines,
    panel,
    quantiles,
    ratings,
    row,
    scores,
)
from safelight.metrics.catalog import (
    ADHERENCE,
    ERROR,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_UTILIZATION,
    HOST_CPU,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    IMAGE_SIZE,
    IMAGES,
    INFERENCE_SECONDS,
    QUALITY_SCORE,
    REQUEST_SECONDS,
    REQUESTS,
    STEP_SECONDS,
    STEPS,
    SUCCESSES,
)
from safelight.metrics.promql import INSTANCE
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import FAMILIES, Thresholds


def zimage(limits: Thresholds) -> Board:
    """Return the dashboard of a distilled model such as Z-Image-Turbo."""
    limits = FAMILIES["zimage"].overridden_by(limits)
    return board(
        "Z-Image",
        "Does the model generate images fast enough, and with which resources?",
        row("Resources", *_resources(limits)),
        row("Speed", *_speed(limits)),
        row("Success", *_success(limits)),
        row("Image quality", *_image_quality()),
        first="zimage",
    )


def _resources(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "GPU memory",
            "Share used by all processes. The line is the limit of GpuMemoryHigh.",
            SHARE,
            Query(NOW.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL), by(INSTANCE)),
            limit=limits.gpu_memory_high_ratio,
            needs=NVIDIA_GPU,
        ),
        lines(
            "Utilization",
            "Share of the time in which GPU and CPU are used.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} GPU"),
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} CPU"),
        ),
        lines(
            "Host memory",
            "Share of used memory. The line is the limit of HostMemoryHigh.",
            SHARE,
            Query(NOW.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL), by(INSTANCE)),
            limit=limits.host_ratio,
        ),
    )


def _image_quality() -> tuple[Panel, ...]:
    return (
        scores(),
        panel(
            Shape.BUCKETS,
            "Score, distribution",
            "Assessed images in the time range, by their quality score.",
            COUNT,
            Query(RANGE.bucket_counts(QUALITY_SCORE), "{{le}}"),
        ),
        lines(
            "Prompt adherence",
            "Mean similarity of image and prompt, by CLIP or by the tagger of the demos.",
            SHARE,
            Query(NOW.mean(ADHERENCE), "adherence"),
            needs="a CLIP model, or a demo",
        ),
    )


def _speed(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "Mean and P99",
            "Time of a request. The dashed line is the limit of RequestP95High.",
            seconds,
            Query(NOW.mean(REQUEST_SECONDS), "mean"),
            Query(NOW.quantile(0.99, REQUEST_SECONDS), "P99"),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Inference time",
            "P50 and P95 of inference calls, without the queue wait.",
            seconds,
            *quantiles(INFERENCE_SECONDS, 0.5, 0.95),
        ),
        lines(
            "Steps per call",
            "A distilled model needs about eight. More steps do not improve the image.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Time of a step",
            "P50 and P95 of denoising steps.",
            seconds,
            *quantiles(STEP_SECONDS, 0.5, 0.95),
        ),
    )


def _success(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Requests per second",
            "Requests to the model.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS), "requests"),
        ),
        lines(
            "Error rate",
            "Share of failed requests, including callers' mistakes.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}), "failures"),
        ),
        lines(
            "Success ratio",
            "Share of requests without an error. The line is the limit of SuccessRatioLow.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "success"),
            limit=limits.success_ratio,
        ),
        lines("Images per second", "Output images.", TIMES, Query(NOW.rate(IMAGES), "images")),
        panel(
            Shape.BARS,
            "Images by size",
            "Output images in the time range.",
            COUNT,
            Query(f"sort_desc({RANGE.increase(IMAGES, (IMAGE_SIZE,))} > 0)", by(IMAGE_SIZE)),
        ),
        ratings(),
    )
