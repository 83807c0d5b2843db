"""Dashboard of the time of a request: stages, queue wait, and which requests are slow."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SERVED,
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
    IN_FLIGHT,
    QUEUE_OLDEST,
    QUEUED_SECONDS,
    REQUEST_MAX,
    REQUEST_SECONDS,
    SIZE_SECONDS,
    STAGE,
    STAGE_SECONDS,
    STATUS_CODE,
)
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import DENOISING, ENGINE, INSTRUCTIONS, REQUEST

_SECONDS = REQUEST_SECONDS.unit
_STAGE_TIME = NOW.total(STAGE_SECONDS, (STAGE,))


def request(limits: Thresholds) -> Board:
    """Return the dashboard of the time of a request."""
    return board(
        REQUEST,
        "Request",
        "How is the time of a request spent, from its arrival to the last byte of its response?",
        row("Stages", DENOISING, *_stages(limits)),
        row("Queue", ENGINE, *_queue()),
        row("Which requests", INSTRUCTIONS, *_which(limits)),
        row("Details", DENOISING, *_details(), closed=True),
    )


def _stages(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Which stage takes the time of a request?",
            "Mean time of each stage. All stages together are the whole request.",
            _SECONDS,
            Query(
                f"{_STAGE_TIME} / on () group_left () ({NOW.increase(REQUEST_SECONDS)} > 0)",
                by(STAGE),
            ),
        ),
        lines(
            "Which stage makes some requests slow?",
            "P95: 95 % of the requests are faster in this stage.",
            _SECONDS,
            *quantiles(STAGE_SECONDS, 0.95, by_labels=(STAGE,)),
            limit=limits.request_p95_seconds,
        ),
    )


def _queue() -> tuple[Panel, ...]:
    waiting = NOW.part(NOW.total(QUEUED_SECONDS), NOW.total(REQUEST_SECONDS))
    return (
        lines(
            "How much of the time do requests wait in the queue?",
            "Share of the request time. Above 60 %, the model is too slow for the traffic.",
            SHARE,
            Query(waiting, "queue wait"),
            needs=SERVED,
        ),
        lines(
            "How long do requests wait in the queue?",
            "P50, P95 and P99 of the queue wait, and how long the oldest request waits now.",
            QUEUED_SECONDS.unit,
            *quantiles(QUEUED_SECONDS, 0.5, 0.95, 0.99),
            Query(f"max({NOW.select(QUEUE_OLDEST)})", "oldest now"),
            needs=SERVED,
        ),
        lines(
            "How many requests are in flight?",
            "Requests that have not ended: queued and running.",
            COUNT,
            Query(f"sum({NOW.select(IN_FLIGHT)})", "in flight"),
        ),
    )


def _which(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Which handler is slow?",
            "P95 of the requests of each route to the model.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=(ENDPOINT,)),
        ),
        lines(
            "Which image size is slow?",
            "P90 of the requests that returned an image, by its size.",
            _SECONDS,
            Query(NOW.quantile(0.9, SIZE_SECONDS, (IMAGE_SIZE,)), f"{by(IMAGE_SIZE)} P90"),
            needs="a model that makes images",
        ),
        lines(
            "How long does the slowest caller wait?",
            "Longest request of this and the last minute: the true maximum, not an estimate.",
            _SECONDS,
            Query(f"max({NOW.select(REQUEST_MAX)})", "maximum"),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Which status is slow?",
            "P95 by status. Fast failures lower the P95 of all requests.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=(STATUS_CODE,)),
        ),
    )


def _details() -> tuple[Panel, ...]:
    return (
        heat(
            "Are there two kinds of requests?",
            "Distribution of the request times. Two bands mean two kinds of request.",
            PER_SECOND,
            REQUEST_SECONDS,
        ),
        panel(
            Shape.NUMBER,
            "Do the stages explain the whole time?",
            "Time of all stages divided by the time of all requests. It should be 100 %.",
            SHARE,
            Query(
                f"{RANGE.total(STAGE_SECONDS)} / ({RANGE.total(REQUEST_SECONDS)} > 0)", "measured"
            ),
        ),
    )
