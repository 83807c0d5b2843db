"""What several checks ask of the evidence: what was usual, how busy the device is, who waits."""

from collections.abc import Callable

from safelight.diagnosis.confidence import by_chance, wilson
from safelight.diagnosis.evidence import Evidence, Reading
from safelight.diagnosis.queries import LATELY
from safelight.metrics.catalog import (
    DEVICE_SECONDS,
    GPU_UTILIZATION,
    QUEUED_SECONDS,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    WORKERS_READY,
)

FEW = 20  # requests within the window; fewer tell nothing

BY_CHANCE = 1e-4  # a week has two thousand windows

Figure = Callable[[Reading], float | None]
Counted = tuple[float, float]  # how many, of how many; or both a second


def usual(evidence: Evidence, figure: Figure) -> float | None:
    """Return the lower of what a figure was before and yesterday, or None without a past."""
    return min(_past(evidence, figure), default=None)


def usually_most(evidence: Evidence, figure: Figure) -> float | None:
    """Return the higher of what a figure was before and yesterday, or None without a past."""
    return max(_past(evidence, figure), default=None)


def grown(evidence: Evidence, figure: Figure) -> float | None:
    """Return how many times its usual value a figure is now, or None where either is unknown."""
    now, then = figure(evidence.now), usually_most(evidence, figure)
    return now / then if now is not None and then else None


def busy(reading: Reading, part: str = "") -> float | None:
    """Return the share of its time that the busiest instance's device is at work.

    `part` may be facts.LATELY: over the end of the window alone.
    """
    spent = reading.by("instance", DEVICE_SECONDS, part)
    ready = reading.by("instance", WORKERS_READY)
    shares = [min(1.0, spent[each] / ready[each]) for each in spent if ready.get(each)]
    return max(shares) if shares else reading.most(GPU_UTILIZATION)


def at_most_busy(evidence: Evidence) -> float | None:
    """Return how busy the device is at most: over the window, or where work began late, its end."""
    shares = (busy(evidence.now), busy(evidence.now, LATELY))
    return max((share for share in shares if share is not None), default=None)


def waiting(reading: Reading) -> float | None:
    """Return the share of requests' time that they wait for the model."""
    whole = reading.rate(REQUEST_SECONDS, "sum")
    queued = max(
        reading.rate(QUEUED_SECONDS, "sum"), reading.rate(STAGE_SECONDS, "sum", stage="queue")
    )
    return min(1.0, queued / whole) if whole > 0 else None


def refused(reading: Reading) -> float:
    """Return the share of requests that were refused for want of capacity."""
    asked = reading.rate(REQUESTS)
    reasons = ("queue_full", "too_late", "concurrency", "shed")
    turned = sum(reading.rate(REJECTED, reason=reason) for reason in reasons)
    return min(1.0, turned / asked) if asked > 0 else 0.0


def ended(reading: Reading, reason: str) -> Counted:
    """Return how many requests a second ended with a reason, of how many."""
    return reading.rate(REQUESTS, error=reason), reading.rate(REQUESTS)


def latency(reading: Reading) -> float | None:
    """Return the mean time of a request."""
    return reading.mean(REQUEST_SECONDS)


def events(evidence: Evidence, rate: float) -> float:
    """Return how many events within the window a rate stands for."""
    return rate * evidence.spans.window_seconds


def chance(
    evidence: Evidence, now: Counted, past: Callable[[Reading], Counted], limit: float
) -> bool:
    """Tell whether so many may well be chance, by Fisher's test against before and yesterday.

    Only where the hour before was well for certain: its share lies below the limit by Wilson's
    interval. An outage that lasts is no chance, nor is anything in a service without a past.
    """
    span = evidence.spans.before_seconds
    before, yesterday = (
        (many * span, of * span) for many, of in map(past, (evidence.before, evidence.yesterday))
    )
    if wilson(*before)[1] >= limit:
        return False
    return all(by_chance(*now, *then) > BY_CHANCE for then in (before, yesterday))


def times(value: float | None) -> str:
    """Return a factor as people read it, or nothing where it is unknown."""
    return "" if value is None else f", {value:.1f} times what is usual"


def _past(evidence: Evidence, figure: Figure) -> list[float]:
    past = (evidence.before, evidence.yesterday)
    return [value for reading in past if (value := figure(reading)) is not None]
