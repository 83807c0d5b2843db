"""The board of the quality of service: fit pictures, and what speed costs them."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
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

_EDITS = NOW.rate(BACKGROUNDS)
_MADE = f"({NOW.rate(IMAGES)} + ({NOW.rate(OUTPUT_INVALID)} or 0 * {NOW.rate(IMAGES)}))"


def quality(limits: Thresholds) -> Board:
    """Return the board of what callers get for their wait."""
    return board(
        "Quality of service",
        "Is what leaves the service fit to be seen, and what does its speed cost in quality?",
        row("Validity", *_validity(limits)),
        row("What callers think", *_thought()),
        row("Looks", *_looks()),
        row("Backgrounds", *_backgrounds()),
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


def _looks() -> tuple[Panel, ...]:
    return (
        scores(),
        lines(
            "Structure kept",
            "Mean structural similarity of input and output; an edit that keeps less than its type "
            "must is an error, structure_corruption.",
            SHARE,
            Query(NOW.mean(STRUCTURE), "kept"),
        ),
        lines(
            "Fits what was asked",
            "Mean adherence, by CLIP where you have one, or by the demos' tagger.",
            SHARE,
            Query(NOW.mean(ADHERENCE), "fits"),
            needs="a CLIP model, or a demo",
        ),
        panel(
            Shape.STACK,
            "Looked at closer",
            "Pictures that were looked at once they were sent; dropped ones gave way to requests.",
            PER_SECOND,
            Query(NOW.rate(ASSESSMENTS, (ASSESSMENT,)), by(ASSESSMENT)),
        ),
        lines(
            "What looking costs",
            "Share of one core's time; it runs when nobody else wants the core.",
            SHARE,
            Query(NOW.seconds_per_second(ASSESSMENT_SECONDS), "of a core"),
        ),
    )


def _backgrounds() -> tuple[Panel, ...]:
    succeeded = NOW.rate(BACKGROUNDS, (BACKGROUND,), {OUTCOME: "succeeded"})
    everything = NOW.rate(BACKGROUNDS, (BACKGROUND,))
    return (
        lines(
            "Entropy of backgrounds",
            "Bits of colour around the middle of the pictures sent in: half of them, and the "
            "busiest tenth.",
            COUNT,
            *quantiles(BACKGROUND_ENTROPY, 0.5, 0.9),
        ),
        lines(
            "Advised",
            "Share of the edits whose callers were told that the background is busy.",
            SHARE,
            Query(
                f"({NOW.rate(BACKGROUNDS, where={BACKGROUND: 'busy'})} or 0 * {_EDITS}) / {_EDITS}",
                "busy",
            ),
        ),
        lines(
            "Success on calm and busy backgrounds",
            "Where busy is far below calm, the advice is worth taking.",
            SHARE,
            Query(f"({succeeded} or 0 * {everything}) / {everything}", by(BACKGROUND)),
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
