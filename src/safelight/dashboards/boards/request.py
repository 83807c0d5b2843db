"""Dashboard of the time of a request: stages, queue wait and routes."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SHARE,
    board,
    by,
    heat,
    lines,
    panel,
    quantiles,
    row,
)
from safelight.metrics.catalog import (
    ENDPOINT,
    IMAGE_SIZE,
    IMAGES,
    IN_FLIGHT,
    INFERENCE_SECONDS,
    QUEUED_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE,
    STAGE_SECONDS,
    STATUS_CODE,
)
from safelight.rules.thresholds import Thresholds

_SECONDS = REQUEST_SECONDS.unit
_TOTAL_TIME = NOW.total(REQUEST_SECONDS)
_STAGE_TIME = NOW.total(STAGE_SECONDS, (STAGE,))


def request(limits: Thresholds) -> Board:
    """Return the dashboard of the time of a request."""
    return board(
        "Request",
        "How is the time of a request spent, from its arrival to the last byte of its response?",
        row("Latency", *_latency(limits)),
        row("Stages", *_stages()),
        row("Queue", *_queue()),
        row("Traffic", *_traffic()),
    )


def _latency(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "P50, P95, P99",
            "Time of a request. The dashed line is the limit of RequestP95High.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.5, 0.95, 0.99),
            limit=limits.request_p95_seconds,
        ),
        heat(
            "All requests",
            "Distribution of the request times. Two bands mean two kinds of request.",
            PER_SECOND,
            REQUEST_SECONDS,
        ),
        lines(
            "P95 by status",
            "Fast failures lower the overall P95, so each status has its own line.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=(STATUS_CODE,)),
        ),
    )


def _stages() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Mean time by stage",
            "Mean request. The sum of all stages is the whole request.",
            _SECONDS,
            Query(
                f"{_STAGE_TIME} / on () group_left () {NOW.increase(REQUEST_SECONDS)}", by(STAGE)
            ),
        ),
        lines(
            "P95 by stage",
            "95 % of the requests are faster in this stage.",
            _SECONDS,
            *quantiles(STAGE_SECONDS, 0.95, by_labels=(STAGE,)),
        ),
        panel(
            Shape.BARS,
            "Share of the time, by stage",
            "Share of each stage in the time of all requests, in the time range.",
            SHARE,
            Query(
                f"sort_desc({RANGE.total(STAGE_SECONDS, (STAGE,))} / on () "
                f"group_left () {RANGE.total(REQUEST_SECONDS)})",
                by(STAGE),
            ),
        ),
        panel(
            Shape.NUMBER,
            "Measured by stages",
            "Time of all stages divided by the time of all requests. It should be 100 %.",
            SHARE,
            Query(f"{RANGE.total(STAGE_SECONDS)} / {RANGE.total(REQUEST_SECONDS)}", "measured"),
        ),
    )


def _queue() -> tuple[Panel, ...]:
    return (
        lines(
            "Share of queue wait",
            "Share of the request time that requests wait in the queue.",
            SHARE,
            Query(f"{NOW.total(QUEUED_SECONDS)} / {_TOTAL_TIME}", "queue wait"),
        ),
        lines(
            "Queue wait",
            "P50, P95 and P99 of the queue wait.",
            QUEUED_SECONDS.unit,
            *quantiles(QUEUED_SECONDS, 0.5, 0.95, 0.99),
        ),
        lines(
            "Queue wait and inference time",
            "Mean queue wait and mean inference time. If the wait is longer, the model is too slow "
            "for the traffic.",
            _SECONDS,
            Query(NOW.mean(QUEUED_SECONDS), "queue wait"),
            Query(NOW.mean(INFERENCE_SECONDS), "inference"),
        ),
    )


def _traffic() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests by route",
            "Requests to the model, by route.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (ENDPOINT,)), by(ENDPOINT)),
        ),
        lines(
            "In flight",
            "Requests that have not ended: queued and running.",
            COUNT,
            Query(f"sum({NOW.select(IN_FLIGHT)})", "in flight"),
        ),
        panel(
            Shape.BARS,
            "Images by size",
            "Output images in the time range, by width and height.",
            COUNT,
            Query(f"sort_desc({RANGE.increase(IMAGES, (IMAGE_SIZE,))} > 0)", by(IMAGE_SIZE)),
        ),
    )
