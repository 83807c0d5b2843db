"""Dashboard of recognition models: the article's metrics of calls, per model."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
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
    BATCH_SIZE,
    MODEL_LATENCY,
    MODEL_NAME,
    MODEL_REQUESTS,
    STAGE,
    STAGE_SECONDS,
)
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import ENGINE, REQUEST

_STATUS = next(label for label in MODEL_REQUESTS.labels if label is not MODEL_NAME)


def recognition(limits: Thresholds) -> Board:
    """Return the dashboard of a recognition service."""
    return board(
        "safelight-recognition",
        "Recognition",
        "Does each recognition model answer quickly and without errors?",
        row("Calls", REQUEST, *_calls(limits)),
        row("Time", ENGINE, *_time()),
        first="recognition",
        is_fixed=True,
    )


def _calls(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            f"How many calls does each model get? ({MODEL_REQUESTS.name})",
            "Calls per second, by their result.",
            PER_SECOND,
            Query(NOW.rate(MODEL_REQUESTS, (MODEL_NAME, _STATUS)), by(MODEL_NAME, _STATUS)),
        ),
        lines(
            "Which model fails?",
            "Share of the calls that failed. The line is 1 minus the limit of SuccessRatioLow.",
            SHARE,
            Query(NOW.share(MODEL_REQUESTS, {_STATUS: "!success"}, (MODEL_NAME,)), by(MODEL_NAME)),
            limit=1 - limits.success_ratio,
        ),
        lines(
            f"Which model is slow? ({MODEL_LATENCY.name})",
            "P95 of the calls of each model.",
            MODEL_LATENCY.unit,
            Query(NOW.quantile(0.95, MODEL_LATENCY, (MODEL_NAME,)), by(MODEL_NAME)),
        ),
    )


def _time() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Does decoding take longer than the model?",
            "Mean time by stage. If `decode` is longer than `predict`, send smaller images.",
            STAGE_SECONDS.unit,
            Query(
                NOW.mean(STAGE_SECONDS, (STAGE,), {STAGE: "~decode|predict|check|encode"}),
                by(STAGE),
            ),
        ),
        lines(
            "How many images does a call take?",
            "Mean number of images in one call of the model.",
            COUNT,
            Query(NOW.mean(BATCH_SIZE), "mean"),
        ),
    )
