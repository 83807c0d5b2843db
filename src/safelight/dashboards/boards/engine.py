"""Dashboard of the engine: queue, batches, device time, protection, and its instances."""

from safelight.dashboards.board import Board, Panel, Query, Shape
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
    or_none,
    panel,
    row,
)
from safelight.dashboards.boards.costs import costs
from safelight.metrics.catalog import (
    API_KEY,
    BATCH_LIMIT,
    BATCH_SIZE,
    CIRCUIT_OPEN,
    CLOSED,
    CONNECTIONS_CLOSED,
    DEGRADATION_LEVEL,
    DEVICE,
    DEVICE_SECONDS,
    DEVICE_STEP_SECONDS,
    ERROR,
    IMAGES,
    KEY_REQUESTS,
    LAST_SUCCESS,
    MODEL_ASLEEP,
    MODEL_INFO,
    QUEUED_WORK,
    REJECTED,
    REJECTION,
    REQUEST_SECONDS,
    REQUEST_TIMEOUT,
    REQUESTS,
    RESTART,
    STOP,
    USE,
    WASTED_USE,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.promql import INSTANCE
from safelight.reasons import NO_ERROR
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import ENGINE, GPUS, INSTRUCTIONS, REQUEST

_EACH = (INSTANCE,)


def engine(limits: Thresholds) -> Board:
    """Return the dashboard of the engine."""
    return board(
        ENGINE,
        "Engine",
        "Does the engine use its devices well, with large batches, little waste and few refusals?",
        row("Queue", REQUEST, *_queue(limits), *_callers()),
        row("Device", GPUS, *_device(limits), *_batches()),
        row("Cost", GPUS, *costs()),
        row("Workers and protection", GPUS, *_workers(), *_protection()),
        row("Instances", GPUS, *_instances(limits)),
        row("Versions", INSTRUCTIONS, _models(), closed=True),
    )


def _queue(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "How much work is queued?",
            "Estimated time until all queued and running requests are done. The dashed line is the "
            "limit of WorkPilesUp. Requests that reach the timeout fail.",
            QUEUED_WORK.unit,
            Query(f"sum by (job, instance) ({NOW.select(QUEUED_WORK)})", by(INSTANCE)),
            Query(f"min({NOW.select(REQUEST_TIMEOUT)})", "timeout"),
            limit=limits.queued_work_seconds,
            needs=SERVED,
        ),
        lines(
            "How many requests are refused?",
            "Share of all requests. The line is the limit of RequestsRefused.",
            SHARE,
            Query(NOW.part(NOW.increase(REJECTED), NOW.increase(REQUESTS)), "refused"),
            limit=limits.refused_ratio,
            needs=SERVED,
        ),
        panel(
            Shape.STACK,
            "Why are requests refused?",
            "Requests refused before they reached the model, by reason.",
            PER_SECOND,
            Query(or_none(NOW.rate(REJECTED, (REJECTION,)), REJECTION, REQUESTS), by(REJECTION)),
        ),
    )


def _callers() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "Which connections are closed?",
            "Connections that were refused, or closed because their callers were too slow or sent "
            "too much. `total`, `address` and `evicted`: there were too many connections.",
            PER_SECOND,
            Query(NOW.rate(CONNECTIONS_CLOSED, (CLOSED,)), by(CLOSED)),
            needs=SERVED,
        ),
        panel(
            Shape.STACK,
            "Which API keys are used?",
            "Requests that a key was accepted for, by the key's name. Without keys, it is empty.",
            PER_SECOND,
            Query(or_none(NOW.rate(KEY_REQUESTS, (API_KEY,)), API_KEY, REQUESTS), by(API_KEY)),
        ),
    )


def _device(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STACK,
            "What is the device time used for?",
            "Device seconds per second: 1 is one device that is always busy.",
            COUNT,
            Query(NOW.rate(DEVICE_SECONDS, (USE,)), by(USE)),
            needs=SERVED,
        ),
        lines(
            "How much device time is wasted?",
            "Share of the device time that led to no response. The line is the limit of "
            "DeviceTimeWasted.",
            SHARE,
            Query(NOW.share(DEVICE_SECONDS, {USE: WASTED_USE}), "wasted"),
            limit=limits.wasted_ratio,
            needs=SERVED,
        ),
        lines(
            "How many images does a device second make?",
            "Output images per second of device time. It falls if the device becomes slow.",
            TIMES,
            Query(NOW.part(NOW.increase(IMAGES), NOW.increase(DEVICE_SECONDS)), "images"),
            needs=SERVED,
        ),
    )


def _batches() -> tuple[Panel, ...]:
    return (
        lines(
            "How large are the batches?",
            "Requests of the largest 5 % of the calls, and the largest batch that increases "
            "throughput.",
            COUNT,
            Query(NOW.quantile(0.95, BATCH_SIZE), "P95"),
            Query(f"max({NOW.select(BATCH_LIMIT)})", "limit"),
            needs=SERVED,
        ),
        panel(
            Shape.STACK,
            "Why is a batch not larger?",
            "`queue_empty` and `cap` are normal. Check `alone`, `deadline` and `memory`.",
            TIMES,
            Query(NOW.rate(BATCH_SIZE, (STOP,)), by(STOP)),
            needs=SERVED,
        ),
    )


def _workers() -> tuple[Panel, ...]:
    return (
        lines(
            "How long ago was the last success?",
            "Time since a request ended without an error. Without traffic, it grows too.",
            LAST_SUCCESS.unit,
            Query(NOW.age(LAST_SUCCESS), by(INSTANCE)),
        ),
        lines(
            "How many workers are ready?",
            "Worker processes of each instance that have loaded the model. A model that sleeps has "
            "none until the next request.",
            COUNT,
            Query(NOW.select(WORKERS_READY), by(INSTANCE)),
            Query(f"{NOW.select(MODEL_ASLEEP)} > 0", f"{by(INSTANCE)} sleeps"),
            needs=SERVED,
        ),
        bars(
            "Why are workers replaced?",
            "Replaced workers in the time range, by reason.",
            COUNT,
            Query(RANGE.increase(WORKER_RESTARTS, (RESTART,)), by(RESTART)),
            needs=SERVED,
        ),
    )


def _protection() -> tuple[Panel, ...]:
    return (
        panel(
            Shape.STATES,
            "Does the circuit breaker refuse requests?",
            "Red while the breaker refuses requests after failures.",
            COUNT,
            Query(f"ceil({NOW.select(CIRCUIT_OPEN)})", by(INSTANCE)),
            needs=SERVED,
        ),
        lines(
            "Is the quality reduced?",
            "Active steps of the degradation ladder. 0 is full quality.",
            COUNT,
            Query(NOW.select(DEGRADATION_LEVEL), by(INSTANCE)),
            needs=SERVED,
        ),
    )


def _instances(limits: Thresholds) -> tuple[Panel, ...]:
    return (
        lines(
            "Is one instance slower?",
            "P95 of the requests. A slow one has a slower GPU, a longer queue, or other callers.",
            REQUEST_SECONDS.unit,
            Query(NOW.quantile(0.95, REQUEST_SECONDS, _EACH), by(INSTANCE), exemplars=True),
            limit=limits.request_p95_seconds,
        ),
        lines(
            "Is one device slower than the others?",
            "Mean step of the slowest device divided by that of the fastest. 1: all are alike. "
            "Devices with larger images or batches have longer steps.",
            COUNT,
            Query(_skew(), "slowest / fastest"),
            needs="two devices",
        ),
        lines(
            "Is the traffic spread evenly?",
            "Requests per second of each instance.",
            PER_SECOND,
            Query(NOW.rate(REQUESTS, _EACH), by(INSTANCE)),
        ),
        lines(
            "Does one instance fail more?",
            "Share of failed requests.",
            SHARE,
            Query(NOW.share(REQUESTS, {ERROR: f"!{NO_ERROR}"}, _EACH), by(INSTANCE)),
        ),
    )


def _skew() -> str:
    step = f"({NOW.mean(DEVICE_STEP_SECONDS, (INSTANCE, DEVICE))})"
    return f"max({step}) / min({step}) and count({step}) > 1"


def _models() -> Panel:
    return panel(
        Shape.TABLE,
        "Which model does each instance serve?",
        "Model, scheduler and precision. Different precisions have different speeds.",
        COUNT,
        Query(NOW.select(MODEL_INFO), ""),
    )
