"""The board of a recogniser: answers, latency, and the names that its users know."""

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
    quantiles,
    row,
)
from safelight.metrics.catalog import (
    BATCH_SIZE,
    ERROR,
    GPU_UTILIZATION,
    HOST_CPU,
    MODEL_INFO,
    QUEUE_DEPTH,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE,
    STAGE_SECONDS,
    STATUS_CODE,
    SUCCESSES,
)
from safelight.metrics.promql import INSTANCE, Matchers
from safelight.reasons import NO_ERROR
from safelight.rules.recording import MODEL_LATENCY, MODEL_NAME, MODEL_REQUESTS
from safelight.rules.thresholds import Thresholds

_PREDICT: Matchers = {STAGE: "predict"}
_OF_MODEL = f'{{job=~"$job", instance=~"$instance", {MODEL_NAME}!=""}}'


def recognition(limits: Thresholds) -> Board:
    """Return the board of a recogniser."""
    return board(
        "Recognition",
        "Does the recogniser answer quickly, rightly and often enough?",
        row("Answers", *_answers(limits)),
        row("The model", *_model()),
        row("Under it", *_under()),
        first="recognition",
    )


def _answers(limits: Thresholds) -> tuple[Panel, ...]:
    failed: Matchers = {ERROR: f"!{NO_ERROR}"}
    return (
        lines(
            "Requests per second",
            "Images looked at, by the status of the answer.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (STATUS_CODE,)), by(STATUS_CODE)),
        ),
        lines(
            "P50, P95, P99",
            "Time of an answer, beside the requests per second on the left.",
            REQUEST_SECONDS.unit,
            *quantiles(REQUEST_SECONDS, 0.5, 0.95, 0.99),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Success ratio",
            "Share of requests answered without an error.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "succeeds"),
            limit=limits.success_ratio,
        ),
        panel(
            Shape.STACK,
            "Errors by reason",
            "Failed requests by their reason.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (ERROR,), failed), by(ERROR)),
        ),
    )


def _model() -> tuple[Panel, ...]:
    named = f"{MODEL_NAME}, status"
    return (
        lines(
            "model_request_total",
            "Requests by the model's name and the status, by the name known from elsewhere.",
            PER_SECOND,
            Query(
                f"sum by ({named}) (rate({MODEL_REQUESTS}{_OF_MODEL}[{NOW.window}]))",
                f"{{{{{MODEL_NAME}}}}} {{{{status}}}}",
            ),
        ),
        lines(
            "model_latency_seconds",
            "P95 by the model's name, by the name known from elsewhere.",
            "s",
            Query(
                f"histogram_quantile(0.95, sum by (le, {MODEL_NAME}) "
                f"(rate({MODEL_LATENCY}_bucket{_OF_MODEL}[{NOW.window}])))",
                f"{{{{{MODEL_NAME}}}}}",
            ),
        ),
        lines(
            "Call of the model",
            "Mean, and 95 % of the requests: the stage in which the model looks at the image.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, where=_PREDICT), "mean"),
            Query(NOW.quantile(0.95, STAGE_SECONDS, where=_PREDICT), "P95"),
        ),
        panel(
            Shape.STACK,
            "Mean time by stage",
            "Decoding often takes longer than the model: then send smaller images.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, (STAGE,)), by(STAGE)),
        ),
    )


def _under() -> tuple[Panel, ...]:
    return (
        lines(
            "Images of a batch",
            "Mean of the images that one call looks at.",
            COUNT,
            Query(NOW.mean(BATCH_SIZE), "mean"),
        ),
        lines(
            "Requests that wait",
            "Depth of the queue of each instance.",
            COUNT,
            Query(NOW.select(QUEUE_DEPTH), by(INSTANCE)),
        ),
        lines(
            "Compute",
            "The processor's share in use, and the cards' where there are any.",
            SHARE,
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} processor"),
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} card"),
        ),
        panel(
            Shape.TABLE,
            "What is served",
            "The model and its precision.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
    )
