"""Dashboard of the output quality: the radar, validity, ratings, scores, and the price of speed."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.axes import axes
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SERVED,
    SHARE,
    TIMES,
    bars,
    board,
    by,
    lines,
    panel,
    row,
)
from safelight.dashboards.boards.instructions import TYPE
from safelight.metrics.catalog import (
    ADHERENCE,
    ASSESSMENT,
    ASSESSMENT_SECONDS,
    ASSESSMENTS,
    CANARY_DRIFT,
    CANARY_GOOD,
    CANARY_RUNS,
    CANARY_SECONDS,
    CANARY_WORKERS,
    COPY,
    DEPTH,
    IMAGES,
    INVALIDITY,
    MODEL_STATE,
    OUTPUT_INVALID,
    QUALITY_SCORE,
    RATING_REASON,
    READINESS_FORCED,
    ROLLBACKS,
    ROLLOUT,
    SHADOW,
    SHADOW_DIFFERENCE,
    SHADOW_LATENCY,
    STEPS,
    STRUCTURE,
    USER_RATING,
    USER_RATINGS,
    VERDICT,
)
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import DENOISING, ENGINE, INSTRUCTIONS, QUALITY, REQUEST

RATERS = "callers who rate responses"
_ASSESSED = "assessed images"


def quality(limits: Thresholds) -> Board:
    """Return the dashboard of the output quality."""
    return board(
        QUALITY,
        "Quality",
        "How good is each instruction type? Are the output images valid, and do callers agree?",
        row("Radar", INSTRUCTIONS, *axes()),
        row("Validity", ENGINE, *_validity(limits)),
        row("Canary", ENGINE, *_canary(limits)),
        row("Ratings", INSTRUCTIONS, *_ratings()),
        row("Speed and quality", DENOISING, *_scores()),
        row("Second model", ENGINE, *_second_model()),
        row("Assessments", REQUEST, *_assessments(), closed=True),
    )


def _validity(limits: Thresholds) -> tuple[Panel, ...]:
    valid, invalid = NOW.increase(IMAGES), NOW.increase(OUTPUT_INVALID)
    all_images = f"({valid} + ({invalid} or 0 * {valid}))"
    return (
        lines(
            "How many output images are invalid?",
            "Share of the output images that were invalid and not sent. The line is the limit of "
            "OutputsInvalid.",
            SHARE,
            Query(NOW.part(invalid, all_images), "invalid"),
            limit=limits.output_invalid_ratio,
            needs="a model that makes images",
        ),
        panel(
            Shape.STACK,
            "What is wrong with the images?",
            "Output images that were not sent, by reason. If `not_finite` or `black` occur with "
            "float16, use bfloat16.",
            PER_SECOND,
            Query(NOW.rate(OUTPUT_INVALID, (INVALIDITY,)), by(INVALIDITY)),
            needs="a model that makes images",
        ),
    )


def _canary(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Is the model still right?",
            "Workers, by what the canary knows of their models. Callers may get wrong images from "
            "a model that is not `good`.",
            COUNT,
            Query(f"sum by (state) ({NOW.select(CANARY_WORKERS)}) > 0", by(MODEL_STATE)),
            needs=SERVED,
        ),
        lines(
            "How far is the model from its golden output?",
            "Difference of the last golden output, as a share of the limit. Above 1 it is wrong. "
            "1 on the second line: a broken model serves, because no other instance is ready.",
            COUNT,
            Query(f"max({NOW.select(CANARY_DRIFT)})", "difference"),
            Query(f"max({NOW.select(READINESS_FORCED)})", "forced to serve"),
            limit=1.0,
            needs=SERVED,
        ),
        panel(
            Shape.STACK,
            "What does the canary find?",
            "Its runs. A request ended an `overtaken` run; the model cannot do a `refused` one.",
            TIMES,
            Query(NOW.rate(CANARY_RUNS, (DEPTH, VERDICT)), by(DEPTH, VERDICT)),
            needs=SERVED,
        ),
        lines(
            "Is the model slower than usual without load?",
            "Time of the canary's last run on its device, and the time since the last good one.",
            CANARY_SECONDS.unit,
            Query(f"max({NOW.select(CANARY_SECONDS)})", "run"),
            Query(f"time() - max({NOW.select(CANARY_GOOD)})", "since the last good run"),
            limit=limits.canary_overdue_seconds,
            needs=SERVED,
        ),
    )


def ratings() -> Panel:
    """Return the panel of the callers' ratings."""
    return panel(
        Shape.BUCKETS,
        "How do callers rate the images?",
        "First ratings in the time range, 1 (bad) to 5 (good).",
        COUNT,
        Query(RANGE.bucket_counts(USER_RATING), "{{le}}"),
        needs=RATERS,
    )


def _ratings() -> tuple[Panel, ...]:
    reasons = RANGE.increase(USER_RATINGS, (RATING_REASON,), {RATING_REASON: "!none"})
    return (
        ratings(),
        bars(
            "Why are callers unhappy?",
            "Reasons of the callers' ratings, in the time range.",
            COUNT,
            Query(f"sort_desc({reasons} > 0)", by(RATING_REASON)),
            needs=RATERS,
        ),
        bars(
            "Which instructions do callers dislike?",
            "Mean of the first ratings in the time range, 1 to 5, worst first.",
            COUNT,
            Query(f"sort({RANGE.mean(USER_RATING, TYPE)})", by(*TYPE)),
            needs=RATERS,
        ),
    )


def _scores() -> tuple[Panel, ...]:
    return (
        lines(
            "Did the quality score fall?",
            "Quality score of the assessed images: median and worst 10 %.",
            QUALITY_SCORE.unit,
            Query(NOW.quantile(0.5, QUALITY_SCORE), "median"),
            Query(NOW.quantile(0.1, QUALITY_SCORE), "worst 10 %"),
            needs=_ASSESSED,
        ),
        lines(
            "Do fewer steps cost quality?",
            "Mean score multiplied by 100, beside the mean steps of a call. `safelight tradeoff` "
            "compares steps, sizes and precisions.",
            COUNT,
            Query(f"100 * {NOW.mean(QUALITY_SCORE)}", "score, of 100"),
            Query(NOW.mean(STEPS), "steps"),
            needs=_ASSESSED,
        ),
        lines(
            "Do images still fit input and prompt?",
            "Mean similarity of output and input, and of output and prompt (by CLIP or a tagger).",
            SHARE,
            Query(NOW.mean(STRUCTURE), "input"),
            Query(NOW.mean(ADHERENCE), "prompt"),
            needs=_ASSESSED,
        ),
    )


def _second_model() -> tuple[Panel, ...]:
    needs = "a second model (`safelight serve A --shadow B`)"
    return (
        panel(
            Shape.STACK,
            "What do copies show about the second model?",
            "Requests to be copied to it, by the verdict after each, and rollbacks of its rollout. "
            "`safelight shadow` and `safelight rollout status` show the reasons.",
            PER_SECOND,
            Query(NOW.rate(SHADOW, (COPY,)), by(COPY)),
            Query(NOW.rate(ROLLBACKS), "rolled back"),
            needs=needs,
        ),
        lines(
            "Is the second model slower or different, and who gets it?",
            "Device time of its copies relative to the first model's, mean difference of their "
            "images, and the share of the callers whom a rollout gives it.",
            SHARE,
            Query(f"max({NOW.select(SHADOW_LATENCY)})", "time, relative"),
            Query(f"max({NOW.select(SHADOW_DIFFERENCE)})", "difference of images"),
            Query(f"max({NOW.select(ROLLOUT)})", "callers"),
            needs=needs,
        ),
    )


def _assessments() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Are images assessed?",
            "Assessments of sent images. `dropped`: not done because requests had priority.",
            PER_SECOND,
            Query(NOW.rate(ASSESSMENTS, (ASSESSMENT,)), by(ASSESSMENT)),
            needs="a model that makes images",
        ),
        lines(
            "What do assessments cost?",
            "CPU cores that assessments use. They run with low priority.",
            COUNT,
            Query(NOW.seconds_per_second(ASSESSMENT_SECONDS), "cores"),
            needs=_ASSESSED,
        ),
    )
