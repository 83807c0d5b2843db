"""The board of one request's time: where it goes, and what was waited for."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    SHARE,
    WHOLE,
    board,
    by,
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
_WHOLE_TIME = NOW.seconds_per_second(REQUEST_SECONDS)
_EACH_STAGE = NOW.seconds_per_second(STAGE_SECONDS, (STAGE,))


def request(limits: Thresholds) -> Board:
    """Return the board that takes a request's time apart."""
    return board(
        "Request",
        "Where does the time of a request go, from its arrival to the last byte of its answer?",
        row("The whole", *_whole(limits)),
        row("Its parts", *_parts()),
        row("Waiting", *_waiting()),
        row("What is asked", *_asked()),
    )


def _whole(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Half, 95 % and 99 %",
            "Time of a request; the dashed line is where RequestP95High begins.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.5, 0.95, 0.99),
            limit=limits.request_p95_seconds,
        ),
        panel(
            Shape.HEAT,
            "All requests",
            "How many requests took how long: two bands are two kinds of request.",
            PER_SECOND,
            Query(NOW.buckets(REQUEST_SECONDS), "{{le}}"),
        ),
        lines(
            "P95 by status",
            "Answers that fail fast make a mean look good: here each status is by itself.",
            _SECONDS,
            *quantiles(REQUEST_SECONDS, 0.95, by_labels=(STATUS_CODE,)),
        ),
    )


def _parts() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Mean time by stage",
            "The mean request, stage upon stage; the stages leave no remainder.",
            _SECONDS,
            Query(f"{_EACH_STAGE} / on () group_left () {NOW.rate(REQUEST_SECONDS)}", by(STAGE)),
        ),
        lines(
            "P95 by stage",
            "The slow twentieth of each stage: what stands out here delays single requests.",
            _SECONDS,
            *quantiles(STAGE_SECONDS, 0.95, by_labels=(STAGE,)),
        ),
        panel(
            Shape.BARS,
            "Share of the time, by stage",
            "How much of all requests' time each stage had, over the time shown.",
            SHARE,
            Query(
                f"sort_desc({WHOLE.seconds_per_second(STAGE_SECONDS, (STAGE,))} / on () "
                f"group_left () {WHOLE.seconds_per_second(REQUEST_SECONDS)})",
                by(STAGE),
            ),
        ),
        panel(
            Shape.NUMBER,
            "Time that a stage explains",
            "The stages' time over the requests': 100 % means that nothing is unexplained.",
            SHARE,
            Query(
                f"{WHOLE.seconds_per_second(STAGE_SECONDS)} / "
                f"{WHOLE.seconds_per_second(REQUEST_SECONDS)}",
                "explained",
            ),
        ),
    )


def _waiting() -> tuple[Panel, ...]:
    return (
        lines(
            "Share of waiting",
            "How much of a request's time it waits in the queue.",
            SHARE,
            Query(f"{NOW.seconds_per_second(QUEUED_SECONDS)} / {_WHOLE_TIME}", "waits"),
        ),
        lines(
            "Time in the queue",
            "Half, 95 % and 99 % of requests waited less than these lines.",
            QUEUED_SECONDS.unit,
            *quantiles(QUEUED_SECONDS, 0.5, 0.95, 0.99),
        ),
        lines(
            "Queue against inference",
            "Mean wait beside the mean call of the model: above it, the model is too slow for "
            "its traffic.",
            _SECONDS,
            Query(NOW.mean(QUEUED_SECONDS), "waits"),
            Query(NOW.mean(INFERENCE_SECONDS), "is worked on"),
        ),
    )


def _asked() -> tuple[Panel, ...]:
    return (
        lines(
            "Requests by route",
            "Requests answered, by the route that they came by.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, (ENDPOINT,)), by(ENDPOINT)),
        ),
        lines(
            "In flight",
            "Requests not answered yet: those that wait and those that are worked on.",
            COUNT,
            Query(f"sum({NOW.select(IN_FLIGHT)})", "in flight"),
        ),
        panel(
            Shape.BARS,
            "Images by size",
            "Images made over the time shown, by width and height.",
            COUNT,
            Query(f"sort_desc({WHOLE.increase(IMAGES, (IMAGE_SIZE,))} > 0)", by(IMAGE_SIZE)),
        ),
    )
