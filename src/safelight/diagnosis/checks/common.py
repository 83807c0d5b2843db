"""Measures that several checks share: baseline values, device load, waiting and steady growth."""

from collections.abc import Callable, Mapping, Sequence

from safelight.diagnosis.confidence import fisher_p_value, wilson
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.prometheus import Series
from safelight.diagnosis.queries import STARTED, Statistic, Window
from safelight.diagnosis.slope import Point, Trend, latest, since, since_last_fall
from safelight.errors import BadInput, Cancelled, RateLimited, Timeout, Unavailable, WorkerLost
from safelight.metrics.catalog import (
    DEVICE,
    DEVICE_SECONDS,
    ERROR,
    GPU,
    GPU_MEMORY_TOTAL,
    GPU_UTILIZATION,
    IMAGE_SIZE,
    IMAGES,
    INSTRUCTION_TYPE,
    MODEL_ASLEEP,
    QUEUED_SECONDS,
    REJECTED,
    REJECTION,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE,
    STAGE_SECONDS,
    WORKERS_READY,
)
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE
from safelight.reasons import reasons_of
from safelight.rules.thresholds import DEFAULTS, Thresholds

MIN_REQUESTS = 20  # in the window; no check judges fewer
MIN_WAIT_SECONDS = 0.1  # a shorter queue wait does not matter
_WOKEN_BUSY = 0.5  # a device that is less busy had no queue of its own
ERROR_LIMIT = 1 - DEFAULTS.success_ratio  # default, for the formulas
MAX_P_VALUE = 1e-4  # one week has about 2 000 windows
_NOISE_FACTOR = 3  # a rise is this many times the noise
_SAME_LEVEL = 1.02  # times the level before the last fall
# Reasons caused by callers. All other reasons are faults of the service.
CALLERS = reasons_of(BadInput, RateLimited, Cancelled)
_REFUSALS = reasons_of(Unavailable) - reasons_of(WorkerLost, Timeout, Cancelled)

Measure = Callable[[Reading], float | None]
Counts = tuple[float, float]  # hits and tries, as numbers or as rates
Mix = tuple[Metric, Label]  # a counter, and the label whose values make up the mix

TYPE_MIX: Mix = (REQUESTS, INSTRUCTION_TYPE)
SIZE_MIX: Mix = (IMAGES, IMAGE_SIZE)


def usual_low(evidence: Evidence, measure: Measure) -> float | None:
    """Return the lower value of the previous hour and yesterday; None without past data."""
    return min(_past(evidence, measure), default=None)


def usual_high(evidence: Evidence, measure: Measure) -> float | None:
    """Return the higher value of the previous hour and yesterday; None without past data."""
    return max(_past(evidence, measure), default=None)


def growth(evidence: Evidence, measure: Measure) -> float | None:
    """Return the value now divided by the usual high value, or None if either is unknown."""
    now, then = measure(evidence.now), usual_high(evidence, measure)
    return now / then if now is not None and then else None


def sleepers(evidence: Evidence) -> set[str]:
    """Return the instances whose model slept in the window: it had no worker, and lacks none."""
    slept = evidence.now.sums_by(INSTANCE, MODEL_ASLEEP, Statistic.MAX)
    return {instance for instance, state in slept.items() if state > 0}


def device_busy(reading: Reading, window: Window = Window.WHOLE) -> float | None:
    """Return the busy share of the busiest instance's device, from 0 to 1."""
    spent = reading.sums_by(INSTANCE, DEVICE_SECONDS, window=window)
    ready = reading.sums_by(INSTANCE, WORKERS_READY)
    shares = [min(1.0, spent[each] / ready[each]) for each in spent if ready.get(each)]
    return max(shares) if shares else reading.maximum(GPU_UTILIZATION)


def peak_device_busy(evidence: Evidence) -> float | None:
    """Return the busy share of the window or of its last third, whichever is higher."""
    shares = (device_busy(evidence.now), device_busy(evidence.now, Window.LAST_THIRD))
    return max((share for share in shares if share is not None), default=None)


def queue_share(reading: Reading) -> float | None:
    """Return the share of the requests' latency that they spend in the queue."""
    total = reading.rate(REQUEST_SECONDS, Statistic.SUM)
    queued = max(
        reading.rate(QUEUED_SECONDS, Statistic.SUM),
        reading.rate(STAGE_SECONDS, Statistic.SUM, where={STAGE: "queue"}),
    )
    return min(1.0, queued / total) if total > 0 else None


def refused_share(reading: Reading) -> float:
    """Return the share of requests that were refused because capacity was missing."""
    requests = reading.rate(REQUESTS)
    reasons = ("queue_full", "too_late", "concurrency", "shed")
    refusals = sum(reading.rate(REJECTED, where={REJECTION: reason}) for reason in reasons)
    return min(1.0, refusals / requests) if requests > 0 else 0.0


def queue_hurts(evidence: Evidence, limit: float) -> bool:
    """Return True if the share of queueing reaches the limit and callers can notice the wait.

    A wait for a model that slept, on a device that is mostly idle, is no queue.
    """
    part, latency = queue_share(evidence.now), mean_latency(evidence.now)
    if sleepers(evidence) and (peak_device_busy(evidence) or 0.0) < _WOKEN_BUSY:
        return False
    return bool(part and latency and part >= limit and part * latency >= MIN_WAIT_SECONDS)


def refuses(evidence: Evidence) -> bool:
    """Return True if too many requests are refused because capacity is missing."""
    return refused_share(evidence.now) >= evidence.limits.refused_ratio


def ended_with(reading: Reading, reason: str) -> Counts:
    """Return the rate of requests that ended with an error, and of all requests."""
    return reading.rate(REQUESTS, where={ERROR: reason}), reading.rate(REQUESTS)


def error_limit(limits: Thresholds, reason: str) -> float:
    """Return the share of requests from which failures with this reason are a fault."""
    if reason == "timeout":
        return limits.timeout_ratio
    return limits.refused_ratio if reason in _REFUSALS else 1 - limits.success_ratio


def request_rate(reading: Reading) -> float | None:
    """Return the requests per second, or None without data."""
    return reading.sum(REQUESTS)


def recent_growth(evidence: Evidence) -> float:
    """Return the rate in the last third over the usual rate, 0 if it has too few requests."""
    window = Window.LAST_THIRD
    rate, usual = evidence.now.rate(REQUESTS, window=window), usual_high(evidence, request_rate)
    return (
        rate / usual if usual and events(evidence, rate) / window.divisor >= MIN_REQUESTS else 0.0
    )


def is_young(evidence: Evidence) -> bool:
    """Return True if the service is younger than the hour it is compared with.

    The rate of an hour in which it ran for minutes is too low. Yesterday's data make it old.
    """
    begins = [curve.points[0][0] for group in evidence.curves.values() for curve in group]
    spans = evidence.spans
    compared = spans.window_seconds + spans.before_seconds - 2 * spans.step_seconds
    known_yesterday = request_rate(evidence.yesterday) is not None
    return bool(begins) and not known_yesterday and evidence.at - min(begins) < compared


def mean_latency(reading: Reading) -> float | None:
    """Return the mean latency of a request, in seconds."""
    return reading.mean(REQUEST_SECONDS)


def events(evidence: Evidence, rate: float) -> float:
    """Return the number of events in the window at this rate."""
    return rate * evidence.spans.window_seconds


def may_be_chance(
    evidence: Evidence, now: Counts, past: Callable[[Reading], Counts], limit: float
) -> bool:
    """Return True if a share is not significantly higher than before and than yesterday.

    Uses Fisher's exact test. Returns False if the past itself may have exceeded the limit (by
    Wilson's interval of the hour before): a long outage, or a service without past data.
    """
    span = evidence.spans.before_seconds
    before, yesterday = (
        (hits * span, tries * span)
        for hits, tries in map(past, (evidence.before, evidence.yesterday))
    )
    if wilson(*before)[1] >= limit:
        return False
    return all(fisher_p_value(*now, *then) > MAX_P_VALUE for then in (before, yesterday))


def mix_change(evidence: Evidence, mix: Mix, window: Window = Window.WHOLE) -> float:
    """Return the share of requests that moved to other label values (total variation distance)."""
    now = mix_shares(evidence.now, mix, window)
    past = [shares for r in (evidence.before, evidence.yesterday) if (shares := mix_shares(r, mix))]
    if not now or not past:
        return 0.0
    return min(
        sum(max(0.0, part - then.get(name, 0.0)) for name, part in now.items()) for then in past
    )


def mix_shares(reading: Reading, mix: Mix, window: Window = Window.WHOLE) -> Mapping[str, float]:
    """Return the share of each label value."""
    metric, label = mix
    counts = reading.sums_by(label, metric, window=window)
    total = sum(counts.values())
    return {name: value / total for name, value in counts.items()} if total > 0 else {}


def steady_growth(evidence: Evidence, curve: Series) -> Trend | None:
    """Return the trend of a curve that rises significantly and still rises, or None.

    Ignores points before the process started and before the last large fall.
    """
    points, height = since_last_fall(since_start(evidence, curve))
    line = latest(points)
    if line is None or not line.certain or not line.goes_on:
        return None
    if line.level <= _SAME_LEVEL * height:
        return None  # the level already was this high before it fell: it will fall again
    return line if line.slope > 0 and line.rise > _NOISE_FACTOR * line.noise else None


def since_start(evidence: Evidence, curve: Series) -> Sequence[Point]:
    """Return a curve from two steps after its process started: loading the model is no leak."""
    instance = curve.labels.get(INSTANCE.name, "")
    starts = evidence.curve(STARTED, where={INSTANCE: instance})
    started = max((series.value for series in starts), default=0.0)
    return since(curve.points, started + 2 * evidence.spans.step_seconds)


def gpu_memory_total(evidence: Evidence, labels: Mapping[str, str]) -> float | None:
    """Return the memory of the GPU that a series' `gpu` or `device` label names, in bytes."""
    gpu = labels.get(GPU.name) or labels.get(DEVICE.name, "").removeprefix("cuda:")
    where = {INSTANCE: labels.get(INSTANCE.name, ""), GPU: gpu}
    return evidence.now.sum(GPU_MEMORY_TOTAL, where=where)


def factor_text(value: float | None) -> str:
    """Return `, 2.5 times the usual value`, or an empty text if the factor is unknown."""
    return "" if value is None else f", {value:.1f} times the usual value"


def usual_text(value: str | None) -> str:
    """Return `, usually 12 %`, or an empty text if the usual value is unknown."""
    return "" if value is None else f", usually {value}"


def _past(evidence: Evidence, measure: Measure) -> list[float]:
    readings = (evidence.before, evidence.yesterday)
    return [value for reading in readings if (value := measure(reading)) is not None]
