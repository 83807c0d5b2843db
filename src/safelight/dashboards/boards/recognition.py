"""Dashboard of a recognition service: `model_request_total` and latency, per model."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    board,
    by,
    lines,
    or_none,
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
    MODEL_LATENCY,
    MODEL_NAME,
    MODEL_REQUESTS,
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
from safelight.rules.thresholds import Thresholds

_PREDICT: Matchers = {STAGE: "predict"}


def recognition(limits: Thresholds) -> Board:
    """Return the dashboard of a recognition service."""
    return board(
        "Recognition",
        "Does the recognition service respond quickly and without errors?",
        row("Requests", *_requests(limits)),
        row("Model", *_model()),
        row("Resources", *_resources()),
        first="recognition",
    )


def _requests(limits: Thresholds) -> tuple[Panel, ...]:
    failed: Matchers = {ERROR: f"!{NO_ERROR}"}
    return (
        lines(
            "Requests per second",
            "Requests by the status of the response.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (STATUS_CODE,)), by(STATUS_CODE)),
        ),
        lines(
            "P50, P95, P99",
            "Time of a request. The dashed line is the limit of RequestP95High.",
            REQUEST_SECONDS.unit,
            *quantiles(REQUEST_SECONDS, 0.5, 0.95, 0.99),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Success ratio",
            "Share of requests without an error. The line is the limit of SuccessRatioLow.",
            SHARE,
            Query(NOW.success_ratio(SUCCESSES, REQUESTS), "success"),
            limit=limits.success_ratio,
        ),
        panel(
            Shape.STACK,
            "Errors by reason",
            "Failed requests by reason.",
            PER_SECOND,
            Query(or_none(NOW.rate(REQUESTS, (ERROR,), failed), ERROR, REQUESTS), by(ERROR)),
        ),
    )


def _model() -> tuple[Panel, ...]:
    status = next(label for label in MODEL_REQUESTS.labels if label is not MODEL_NAME)
    return (
        lines(
            MODEL_REQUESTS.name,
            "Calls of each model, by their result.",
            PER_SECOND,
            Query(NOW.rate(MODEL_REQUESTS, (MODEL_NAME, status)), by(MODEL_NAME, status)),
        ),
        lines(
            MODEL_LATENCY.name,
            "P95 of the calls of each model.",
            MODEL_LATENCY.unit,
            Query(NOW.quantile(0.95, MODEL_LATENCY, (MODEL_NAME,)), by(MODEL_NAME)),
        ),
        lines(
            "Inference time",
            "Mean and P95 of the stage `predict`.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, where=_PREDICT), "mean"),
            Query(NOW.quantile(0.95, STAGE_SECONDS, where=_PREDICT), "P95"),
        ),
        panel(
            Shape.STACK,
            "Mean time by stage",
            "If decoding takes longer than the model, send smaller images.",
            STAGE_SECONDS.unit,
            Query(NOW.mean(STAGE_SECONDS, (STAGE,)), by(STAGE)),
        ),
    )


def _resources() -> tuple[Panel, ...]:
    return (
        lines(
            "Images per batch",
            "Mean number of images in one call of the model.",
            COUNT,
            Query(NOW.mean(BATCH_SIZE), "mean"),
        ),
        lines(
            "Queue length",
            "Queued requests of each instance.",
            COUNT,
            Query(NOW.select(QUEUE_DEPTH), by(INSTANCE)),
        ),
        lines(
            "Utilization",
            "Share of the time in which CPU and GPU are used.",
            SHARE,
            Query(NOW.select(HOST_CPU), f"{by(INSTANCE)} CPU"),
            Query(NOW.select(GPU_UTILIZATION), f"{by(INSTANCE)} GPU"),
        ),
        panel(
            Shape.TABLE,
            "Models",
            "Model and precision of each instance.",
            COUNT,
            Query(NOW.select(MODEL_INFO), ""),
        ),
    )
