"""What several checks ask of the evidence: what was usual, how busy the device is, who waits."""

from collections.abc import Callable

from safelight.diagnosis.evidence import Evidence, Reading
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

Figure = Callable[[Reading], float | None]


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


def latency(reading: Reading) -> float | None:
    """Return the mean time of a request."""
    return reading.mean(REQUEST_SECONDS)


def events(evidence: Evidence, rate: float) -> float:
    """Return how many events within the window a rate stands for."""
    return rate * evidence.spans.window_seconds


def times(value: float | None) -> str:
    """Return a factor as people read it, or nothing where it is unknown."""
    return "" if value is None else f", {value:.1f} times what is usual"


def _past(evidence: Evidence, figure: Figure) -> list[float]:
    past = (evidence.before, evidence.yesterday)
    return [value for reading in past if (value := figure(reading)) is not None]
