"""Dashboard of the engine: batches, queue, device time, workers, circuit breaker."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    PER_SECOND,
    RANGE,
    SHARE,
    board,
    by,
    lines,
    or_none,
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


def engine(limits: Thresholds) -> Board:
    """Return the dashboard of the engine."""
    return board(
        "Engine",
        "Does the engine use its devices well, with large batches, little waste and few refusals?",
        row("Batches", *_batches()),
        row("Queue", *_queue(limits)),
        row("Device time", *_device(limits)),
        row("Protection", *_protection()),
    )


def _batches() -> tuple[Panel, ...]:
    limit, speedup = NOW.select(BATCH_LIMIT), NOW.select(BATCH_SPEEDUP)
    return (
        lines(
            "Batch size and its measured limit",
            "Mean requests per call, and the largest batch that increases throughput.",
            COUNT,
            Query(NOW.mean(BATCH_SIZE), "mean"),
            Query(f"max({limit})", "limit"),
        ),
        panel(
            Shape.BUCKETS,
            "Batch size, distribution",
            "Inference calls by their number of requests, in the time range.",
            COUNT,
            Query(RANGE.bucket_counts(BATCH_SIZE), "{{le}}"),
        ),
        panel(
            Shape.STACK,
            "Why a batch was not larger",
            "`queue_empty` and `cap` are normal. Check `alone`, `deadline` and `memory`.",
            "ops",
            Query(NOW.rate(BATCH_SIZE, (STOP,)), by(STOP)),
        ),
        lines(
            "Speedup by batches",
            "Images per second at the batch limit, relative to batches of one.",
            SHARE,
            Query(f"max({speedup})", "speedup"),
        ),
    )


def _queue(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Queue length",
            "Queued requests of each instance.",
            COUNT,
            Query(NOW.select(QUEUE_DEPTH), by(INSTANCE)),
        ),
        lines(
            "Queued work",
            "Estimated time until all queued and running requests are done. The dashed line is the "
            "limit of WorkPilesUp. Requests that reach the timeout fail.",
            QUEUED_WORK.unit,
            Query(NOW.select(QUEUED_WORK), by(INSTANCE)),
            Query(f"min({NOW.select(REQUEST_TIMEOUT)})", "timeout"),
            limit=limits.queued_work_seconds,
        ),
        panel(
            Shape.STACK,
            "Refused requests, by reason",
            "Requests refused before they reached the model.",
            PER_SECOND,
            Query(or_none(NOW.rate(REJECTED, (REJECTION,)), REJECTION, REQUESTS), by(REJECTION)),
        ),
        lines(
            "Share of refused requests",
            "Refused requests divided by all requests. The line is the limit of RequestsRefused.",
            SHARE,
            Query(f"{NOW.increase(REJECTED)} / {NOW.increase(REQUESTS)}", "refused"),
            limit=limits.refused_ratio,
        ),
    )


def _device(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Device time, by result",
            "Device seconds per second: 1 is one device that is always busy.",
            COUNT,
            Query(NOW.rate(DEVICE_SECONDS, (USE,)), by(USE)),
        ),
        lines(
            "Wasted device time",
            "Share of the device time that led to no response. The line is the limit of "
            "DeviceTimeWasted.",
            SHARE,
            Query(NOW.share(DEVICE_SECONDS, {USE: "!useful"}), "wasted"),
            limit=limits.wasted_ratio,
        ),
        lines(
            "Images per device second",
            "Output images per second of device time.",
            "ops",
            Query(f"{NOW.increase(IMAGES)} / {NOW.increase(DEVICE_SECONDS)}", "images"),
        ),
        lines(
            "Images per second",
            "Output images of all workers together.",
            "ops",
            Query(NOW.rate(IMAGES), "images"),
        ),
    )


def _protection() -> tuple[Panel, ...]:
    return (
        lines(
            "Workers ready",
            "Worker processes of each instance that have loaded the model.",
            COUNT,
            Query(NOW.select(WORKERS_READY), by(INSTANCE)),
        ),
        panel(
            Shape.BARS,
            "Replaced workers",
            "Number in the time range, by reason.",
            COUNT,
            Query(RANGE.increase(WORKER_RESTARTS, (RESTART,)), by(RESTART)),
        ),
        lines(
            "Degradation ladder",
            "Active steps of the ladder. 0 is full quality.",
            COUNT,
            Query(NOW.select(DEGRADATION_LEVEL), by(INSTANCE)),
        ),
        panel(
            Shape.STACK,
            "Degraded requests",
            "Requests that the degradation ladder changed or refused, by action.",
            PER_SECOND,
            Query(NOW.rate(DEGRADED, (ACTION,)), by(ACTION)),
        ),
        panel(
            Shape.STATES,
            "Circuit breaker",
            "Red while the breaker refuses requests after failures.",
            COUNT,
            Query(f"ceil({NOW.select(CIRCUIT_OPEN)})", by(INSTANCE)),
        ),
    )
