"""The board of the quality of service: fit pictures, and what speed costs them."""

from safelight.dashboards.boards.parts import (
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
)
from safelight.dashboards.spec import Board, Panel, Query, Shape
from safelight.metrics.catalog import (
    DEGRADED,
    DEVICE_SECONDS,
    GUIDANCE_OVERRIDDEN,
    IMAGES,
    INFERENCE_SECONDS,
    INVALIDITY,
    MODEL_INFO,
    OUTPUT_INVALID,
    PRECISION,
    RATING_REASON,
    RATINGS_CHANGED,
    REQUESTS,
    STEPS,
    SUCCESSES,
    USE,
    USER_RATINGS,
)
from safelight.rules.thresholds import Thresholds

_MADE = f"({NOW.rate(IMAGES)} + ({NOW.rate(OUTPUT_INVALID)} or 0 * {NOW.rate(IMAGES)}))"


def quality(limits: Thresholds) -> Board:
    """Return the board of what callers get for their wait."""
    return board(
        "Quality of service",
        "Is what leaves the service fit to be seen, and what does its speed cost in quality?",
        row("Validity", *_validity(limits)),
        row("What callers think", *_thought()),
        row("What was given up for speed", *_given_up()),
        row("Speed against quality", *_against()),
    )


def _validity(limits: Thresholds) -> tuple[Panel, ...]:
    broken = f"({NOW.rate(OUTPUT_INVALID)} or 0 * {NOW.rate(IMAGES)})"
    return (
        lines(
            "Success ratio",
            "Share of requests answered without an error; the line is what is promised.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "succeeds"),
            limit=limits.success_ratio,
        ),
        lines(
            "Broken pictures",
            "Share of the pictures that were not fit to be sent; the line is where OutputsInvalid "
            "begins.",
            SHARE,
            Query(f"{broken} / {_MADE}", "broken"),
            limit=limits.output_invalid_ratio,
        ),
        panel(
            Shape.BARS,
            "Broken, by reason",
            "Over the time shown. not_finite and black in float16: serve in bfloat16.",
            COUNT,
            Query(WHOLE.increase(OUTPUT_INVALID, (INVALIDITY,)), by(INVALIDITY)),
        ),
        panel(
            Shape.STACK,
            "Broken over time",
            "Pictures that were refused after they were made.",
            PER_SECOND,
            Query(NOW.rate(OUTPUT_INVALID, (INVALIDITY,)), by(INVALIDITY)),
        ),
    )


def _thought() -> tuple[Panel, ...]:
    return (
        ratings(),
        panel(
            Shape.BARS,
            "Ratings by reason",
            "Why callers rated as they did, over the time shown.",
            COUNT,
            Query(
                f"sort_desc({WHOLE.increase(USER_RATINGS, (RATING_REASON,))})", by(RATING_REASON)
            ),
        ),
        lines(
            "Ratings changed",
            "Callers who thought better of it: the records hold their last word.",
            TIMES,
            Query(NOW.rate(RATINGS_CHANGED), "changed"),
        ),
    )


def _given_up() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests made less of",
            "Share of requests that the ladder of degradation changed.",
            SHARE,
            Query(f"{NOW.rate(DEGRADED)} / {NOW.rate(REQUESTS)}", "changed"),
        ),
        lines(
            "Guidance not applied",
            "Share of requests whose guidance the pipeline ignored: the picture is not as asked.",
            SHARE,
            Query(f"{NOW.rate(GUIDANCE_OVERRIDDEN)} / {NOW.rate(REQUESTS)}", "ignored"),
        ),
        lines(
            "Time spent on pictures nobody got",
            "Share of the devices' time that went into broken pictures and second tries.",
            SHARE,
            Query(NOW.share(DEVICE_SECONDS, {USE: "~invalid|retry|failed"}), "lost"),
        ),
    )


def _against() -> tuple[Panel, ...]:
    return (
        lines(
            "Steps",
            "Mean steps of a call: fewer are faster, and at some point worse.",
            COUNT,
            Query(NOW.mean(STEPS), "steps"),
        ),
        lines(
            "Call, by precision",
            "P95 of a call by number format: what a coarser one gains.",
            INFERENCE_SECONDS.unit,
            *quantiles(INFERENCE_SECONDS, 0.95, by_labels=(PRECISION,)),
        ),
        lines(
            "Seconds a step",
            "Mean call over mean steps: the price of one step more.",
            INFERENCE_SECONDS.unit,
            Query(f"({NOW.mean(INFERENCE_SECONDS)}) / ({NOW.mean(STEPS)})", "a step"),
        ),
        panel(
            Shape.TABLE,
            "What is served",
            "The model, its scheduler and its precision: what the figures above belong to.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
    )
