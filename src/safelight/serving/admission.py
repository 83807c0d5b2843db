"""Bounds the queue: a request beyond the limit is refused at once, and told when to come back."""

from collections.abc import Callable
from time import monotonic

from safelight.errors import NotReady, Overloaded
from safelight.metrics.catalog import QUEUE_DEPTH, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_FIRST_GUESS_SECONDS = 1.0
_WEIGHT_OF_THE_LATEST = 0.2


def admission(
    handle: Handler,
    *,
    limit: int,
    meter: Meter,
    waiting: Callable[[], int],
    clock: Callable[[], float] = monotonic,
) -> Handler:
    """Refuse a job while `limit` others wait; `waiting` tells how many do.

    `Retry-After` is the time in which those that wait will have been served, from the mean time of
    a job so far (an exponentially weighted mean).
    """
    meter.start_at_zero(REJECTED)
    meter.child(QUEUE_DEPTH).set_function(waiting)
    mean_seconds = _FIRST_GUESS_SECONDS

    async def admitted(job: Job) -> Outcome:
        nonlocal mean_seconds
        if waiting() >= limit:
            meter.add(REJECTED, "overloaded")
            raise Overloaded(
                waiting(), limit, retry_after_seconds=max(1.0, waiting() * mean_seconds)
            )
        started, queued = clock(), job.exchange.timeline.seconds["queue"]
        try:
            outcome = await handle(job)
        except NotReady:
            meter.add(REJECTED, "not_ready")
            raise
        waited = job.exchange.timeline.seconds["queue"] - queued
        mean_seconds += _WEIGHT_OF_THE_LATEST * (clock() - started - waited - mean_seconds)
        return outcome

    return admitted
