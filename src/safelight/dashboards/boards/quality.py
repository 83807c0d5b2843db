"""Dashboard of the output quality: validity, ratings, scores, degraded requests, speed."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
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
    ASSESSMENT,
    ASSESSMENT_SECONDS,
    ASSESSMENTS,
    BACKGROUND,
    BACKGROUND_ENTROPY,
    BACKGROUNDS,
    DEGRADED,
    DEVICE_SECONDS,
    GUIDANCE_OVERRIDDEN,
    IMAGES,
    INFERENCE_SECONDS,
    INVALIDITY,
    MODEL_INFO,
    OUTCOME,
    OUTPUT_INVALID,
    PRECISION,
    RATING_REASON,
    RATINGS_CHANGED,
    REQUESTS,
    STEPS,
    STRUCTURE,
    SUCCESSES,
    USE,
    USER_RATINGS,
)
from safelight.rules.thresholds import Thresholds

_EDITS = NOW.increase(BACKGROUNDS)
_IMAGES = (
    f"({NOW.increase(IMAGES)} + ({NOW.increase(OUTPUT_INVALID)} or 0 * {NOW.increase(IMAGES)}))"
)


def quality(limits: Thresholds) -> Board:
    """Return the dashboard of the output quality."""
    return board(
        "Quality of service",
        "Are the output images good, and does speed reduce their quality?",
        row("Validity", *_validity(limits)),
        row("Ratings", *_ratings()),
        row("Image quality", *_image_quality()),
        row("Backgrounds", *_backgrounds()),
        row("Degradation", *_degradation()),
        row("Speed and quality", *_speed()),
    )


def _validity(limits: Thresholds) -> tuple[Panel, ...]:
    invalid = f"({NOW.increase(OUTPUT_INVALID)} or 0 * {NOW.increase(IMAGES)})"
    return (
        lines(
            "Success ratio",
            "Share of requests without an error. The line is the limit of SuccessRatioLow.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "success"),
            limit=limits.success_ratio,
        ),
        lines(
            "Invalid images",
            "Share of the output images that were invalid and not sent. The line is the limit of "
            "OutputsInvalid.",
            SHARE,
            Query(f"{invalid} / {_IMAGES}", "invalid"),
            limit=limits.output_invalid_ratio,
        ),
        panel(
            Shape.BARS,
            "Invalid images, by reason",
            "In the time range. If `not_finite` or `black` occur with float16, use bfloat16.",
            COUNT,
            Query(RANGE.increase(OUTPUT_INVALID, (INVALIDITY,)), by(INVALIDITY)),
        ),
        panel(
            Shape.STACK,
            "Invalid images over time",
            "Output images that were not sent, by reason.",
            PER_SECOND,
            Query(NOW.rate(OUTPUT_INVALID, (INVALIDITY,)), by(INVALIDITY)),
        ),
    )


def _ratings() -> tuple[Panel, ...]:
    return (
        ratings(),
        panel(
            Shape.BARS,
            "Ratings by reason",
            "Reasons of the callers' ratings, in the time range.",
            COUNT,
            Query(
                f"sort_desc({RANGE.increase(USER_RATINGS, (RATING_REASON,))})", by(RATING_REASON)
            ),
        ),
        lines(
            "Changed ratings",
            "Ratings that replaced an earlier one. The records contain the last.",
            TIMES,
            Query(NOW.rate(RATINGS_CHANGED), "changed"),
        ),
    )


def _image_quality() -> tuple[Panel, ...]:
    return (
        scores(),
        lines(
            "Structural similarity",
            "Mean similarity of input and output image. An edit below the limit of its type ends "
            "with the error `structure_corruption`.",
            SHARE,
            Query(NOW.mean(STRUCTURE), "similarity"),
        ),
        lines(
            "Prompt adherence",
            "Mean similarity of image and prompt, by CLIP or by the tagger of the demos.",
            SHARE,
            Query(NOW.mean(ADHERENCE), "adherence"),
            needs="a CLIP model, or a demo",
        ),
        panel(
            Shape.STACK,
            "Assessments",
            "Assessments of sent images. `dropped`: not done because requests had priority.",
            PER_SECOND,
            Query(NOW.rate(ASSESSMENTS, (ASSESSMENT,)), by(ASSESSMENT)),
        ),
        lines(
            "Cost of assessments",
            "CPU cores that assessments use. They run with low priority.",
            SHARE,
            Query(NOW.seconds_per_second(ASSESSMENT_SECONDS), "cores"),
        ),
    )


def _backgrounds() -> tuple[Panel, ...]:
    succeeded = NOW.increase(BACKGROUNDS, (BACKGROUND,), {OUTCOME: "succeeded"})
    total = NOW.increase(BACKGROUNDS, (BACKGROUND,))
    busy = NOW.increase(BACKGROUNDS, where={BACKGROUND: "busy"})
    return (
        lines(
            "Entropy of backgrounds",
            "Entropy of the background colours of input images, in bits: P50 and P90.",
            COUNT,
            *quantiles(BACKGROUND_ENTROPY, 0.5, 0.9),
        ),
        lines(
            "Busy backgrounds",
            "Share of the edits with a busy background. Their callers receive advice.",
            SHARE,
            Query(f"({busy} or 0 * {_EDITS}) / {_EDITS}", "busy"),
        ),
        lines(
            "Success on calm and busy backgrounds",
            "If `busy` is far below `calm`, callers should follow the advice.",
            SHARE,
            Query(f"({succeeded} or 0 * {total}) / {total}", by(BACKGROUND)),
        ),
    )


def _degradation() -> tuple[Panel, ...]:
    return (
        lines(
            "Degraded requests",
            "Share of requests that the degradation ladder changed or refused.",
            SHARE,
            Query(f"{NOW.increase(DEGRADED)} / {NOW.increase(REQUESTS)}", "changed"),
        ),
        lines(
            "Guidance not applied",
            "Share of requests whose guidance the pipeline ignored.",
            SHARE,
            Query(f"{NOW.increase(GUIDANCE_OVERRIDDEN)} / {NOW.increase(REQUESTS)}", "ignored"),
        ),
        lines(
            "Device time without a result",
            "Share of the device time for invalid images, failures and retries.",
            SHARE,
            Query(NOW.share(DEVICE_SECONDS, {USE: "~invalid|retry|failed"}), "lost"),
        ),
    )


def _speed() -> tuple[Panel, ...]:
    return (
        lines(
            "Steps",
            "Mean steps per call. Fewer steps are faster, but too few reduce the quality.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Inference time, by precision",
            "P95 of an inference call, by the number format of the weights.",
            INFERENCE_SECONDS.unit,
            *quantiles(INFERENCE_SECONDS, 0.95, by_labels=(PRECISION,)),
        ),
        lines(
            "Time per step",
            "Mean inference time divided by mean steps: the cost of one more step.",
            INFERENCE_SECONDS.unit,
            Query(f"({NOW.mean(INFERENCE_SECONDS)}) / ({NOW.mean(STEPS)})", "per step"),
        ),
        panel(
            Shape.TABLE,
            "Models",
            "Model, scheduler and precision of each instance.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
    )
