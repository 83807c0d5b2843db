"""The board of the engine: batches, the queue, what is refused, what the devices' time is for."""

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
    row,
)
from safelight.metrics.catalog import (
    ACTION,
    BATCH_LIMIT,
    BATCH_SIZE,
    BATCH_SPEEDUP,
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    DEGRADED,
    DEVICE_SECONDS,
    IMAGES,
    QUEUE_DEPTH,
    QUEUED_WORK,
    REJECTED,
    REJECTION,
    REQUEST_TIMEOUT,
    REQUESTS,
    RESTART,
    STOP,
    USE,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE
from safelight.rules.thresholds import Thresholds

_DEVICE_TIME = "the devices' time of the engine: one second per second is one device, all the time"


def engine(limits: Thresholds) -> Board:
    """Return the board of the engine."""
    return board(
        "Engine",
        "Does the engine use its devices well: are batches as large as they pay, and is nothing "
        "wasted or needlessly refused?",
        row("Batches", *_batches()),
        row("The queue", *_queue(limits)),
        row("The devices' time", *_device(limits)),
        row("Protection", *_protection()),
    )


def _batches() -> tuple[Panel, ...]:
    limit, gain = NOW.select(BATCH_LIMIT), NOW.select(BATCH_SPEEDUP)
    return (
        lines(
            "Batch, and its learned limit",
            "Mean requests of a call beside the largest batch that still gains.",
            COUNT,
            Query(NOW.mean(BATCH_SIZE), "mean"),
            Query(f"max({limit})", "limit"),
        ),
        panel(
            Shape.BUCKETS,
            "Batches, distribution",
            "How many calls served how many requests, over the time shown.",
            COUNT,
            Query(WHOLE.bucket_counts(BATCH_SIZE), "{{le}}"),
        ),
        panel(
            Shape.STACK,
            "Why a batch was not larger",
            "queue_empty and cap are as they should be; alone, deadline and memory ask for a look.",
            "ops",
            Query(NOW.rate(BATCH_SIZE, (STOP,)), by(STOP)),
        ),
        lines(
            "Gain from batches",
            "Images a second at the limit, against one at a time: 1.5 is half as many again.",
            SHARE,
            Query(f"max({gain})", "gain"),
        ),
    )


def _queue(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Requests that wait",
            "Depth of the bounded queue of each instance.",
            COUNT,
            Query(NOW.select(QUEUE_DEPTH), by(INSTANCE)),
        ),
        lines(
            "Work that waits",
            "Predicted time until all that waits or runs is done; the line is where WorkPilesUp "
            "begins. At the timeout, requests fail.",
            QUEUED_WORK.unit,
            Query(NOW.select(QUEUED_WORK), by(INSTANCE)),
            Query(f"min({NOW.select(REQUEST_TIMEOUT)})", "timeout"),
            limit=limits.queued_work_seconds,
        ),
        panel(
            Shape.STACK,
            "Refused, by reason",
            "Requests refused before they cost the model anything.",
            PER_SECOND,
            Query(NOW.rate(REJECTED, (REJECTION,)), by(REJECTION)),
        ),
        lines(
            "Share refused",
            "Refused requests over all; the line is where RequestsRefused begins.",
            SHARE,
            Query(f"{NOW.rate(REJECTED)} / {NOW.rate(REQUESTS)}", "refused"),
            limit=limits.refused_ratio,
        ),
    )


def _device(limits: Thresholds) -> tuple[Panel, ...]:
    each = NOW.rate(DEVICE_SECONDS, (USE,))
    return (
        panel(
            Shape.STACK,
            "Device seconds, by use",
            f"What became of {_DEVICE_TIME}.",
            COUNT,
            Query(each, by(USE)),
        ),
        lines(
            "Wasted",
            "Share of the devices' time that gave no answer; the line is where DeviceTimeWasted "
            "begins.",
            SHARE,
            Query(NOW.share(DEVICE_SECONDS, {USE: "!useful"}), "wasted"),
            limit=limits.wasted_ratio,
        ),
        lines(
            "Images per device second",
            "What a second of a device yields: the figure that pays for the card.",
            "ops",
            Query(f"{NOW.rate(IMAGES)} / {NOW.rate(DEVICE_SECONDS)}", "images"),
        ),
        lines(
            "Images per second",
            "Images made by all workers together.",
            "ops",
            Query(NOW.rate(IMAGES), "images"),
        ),
    )


def _protection() -> tuple[Panel, ...]:
    return (
        lines(
            "Workers ready",
            "Worker processes with the model loaded, of each instance.",
            COUNT,
            Query(NOW.select(WORKERS_READY), by(INSTANCE)),
        ),
        panel(
            Shape.BARS,
            "Workers replaced",
            "How often, over the time shown, and why.",
            COUNT,
            Query(WHOLE.increase(WORKER_RESTARTS, (RESTART,)), by(RESTART)),
        ),
        lines(
            "Ladder of degradation",
            "Rungs in force; 0 is full service.",
            COUNT,
            Query(NOW.select(DEGRADATION_LEVEL), by(INSTANCE)),
        ),
        panel(
            Shape.STACK,
            "Requests that the ladder changed",
            "By what it did to them.",
            PER_SECOND,
            Query(NOW.rate(DEGRADED, (ACTION,)), by(ACTION)),
        ),
        panel(
            Shape.STATES,
            "Breaker",
            "Red while the model is left alone after failures.",
            COUNT,
            Query(f"ceil({NOW.select(CIRCUIT_OPEN)})", by(INSTANCE)),
        ),
    )
