"""The board of Z-Image and its like: resources, speed and success of a few-step generator."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    CARD,
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    TIMES,
    WHOLE,
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
    """Return the board of a distilled generator such as Z-Image-Turbo."""
    limits = FAMILIES["zimage"].with_own(limits)
    return board(
        "Z-Image",
        "Does the generator keep its promise of a picture in a moment, and with which resources?",
        row("Resources", *_resources(limits)),
        row("Speed", *_speed(limits)),
        row("Success", *_success(limits)),
        row("Looks", *_looks()),
        first="zimage",
    )


def _resources(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Card's memory",
            "Share in use by all processes; the line is where GpuMemoryHigh begins.",
            SHARE,
            Query(NOW.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL), by(INSTANCE)),
            limit=limits.gpu_memory_high_ratio,
            needs=CARD,
        ),
        lines(
            "Compute",
            "The cards' share of time in use, and the processor's.",
            SHARE,
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} card"),
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} processor"),
        ),
        lines(
            "Machine's memory",
            "Share in use; the line is where HostMemoryHigh begins.",
            SHARE,
            Query(NOW.fraction(HOST_MEMORY_USED, HOST_MEMORY_TOTAL), by(INSTANCE)),
            limit=limits.host_ratio,
        ),
    )


def _looks() -> tuple[Panel, ...]:
    return (
        scores(),
        panel(
            Shape.BUCKETS,
            "Score, distribution",
            "Pictures of the time shown, by their looks.",
            COUNT,
            Query(WHOLE.bucket_counts(QUALITY_SCORE), "{{le}}"),
        ),
        lines(
            "Fits what was asked",
            "Mean adherence to the prompt, by CLIP where you have one, or by the demos' tagger.",
            SHARE,
            Query(NOW.mean(ADHERENCE), "fits"),
            needs="a CLIP model, or a demo",
        ),
    )


def _speed(limits: Thresholds) -> tuple[Panel, ...]:
    seconds = REQUEST_SECONDS.unit
    return (
        lines(
            "Mean and slowest",
            "Mean of the requests, and the bucket that holds the slowest of a hundred.",
            seconds,
            Query(NOW.mean(REQUEST_SECONDS), "mean"),
            Query(NOW.quantile(0.99, REQUEST_SECONDS), "P99"),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Call of the pipeline",
            "Half and 95 % of the calls, without their wait.",
            seconds,
            *quantiles(INFERENCE_SECONDS, 0.5, 0.95),
        ),
        lines(
            "Steps of a call",
            "A distilled model makes eight; more is asked in vain.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Time of a step",
            "Half and 95 % of the steps.",
            seconds,
            *quantiles(STEP_SECONDS, 0.5, 0.95),
        ),
    )


def _success(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Requests per second",
            "Requests answered.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS), "requests"),
        ),
        lines(
            "Error rate",
            "Share of requests that failed, whoever is at fault.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}), "fails"),
        ),
        lines(
            "Success ratio",
            "Share answered without an error; the line is what is promised.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "succeeds"),
            limit=limits.success_ratio,
        ),
        lines("Images per second", "Images made.", TIMES, Query(NOW.rate(IMAGES), "images")),
        panel(
            Shape.BARS,
            "Images by size",
            "Images made over the time shown.",
            COUNT,
            Query(f"sort_desc({WHOLE.increase(IMAGES, (IMAGE_SIZE,))} > 0)", by(IMAGE_SIZE)),
        ),
        ratings(),
    )
