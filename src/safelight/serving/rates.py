"""Keeps one caller from taking everybody's share: a token bucket for each."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from safelight.errors import RateLimited
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_MOST_OWNERS = 10_000
_BURST_SECONDS = 10.0


def rates(
    handle: Handler, *, per_minute: float, meter: Meter, clock: Callable[[], float] = monotonic
) -> Handler:
    """Refuse a caller's requests beyond so many a minute; ten seconds' worth may come at once."""
    most = max(1.0, per_minute * _BURST_SECONDS / 60)
    buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    async def limited(job: Job) -> Outcome:
        if job.place:  # counted with the first; if that is refused, these are stopped with it
            return await handle(job)
        now = clock()
        tokens, then = buckets.get(job.owner, (most, now))
        tokens = min(most, tokens + (now - then) * per_minute / 60)
        buckets[job.owner] = (tokens - 1 if tokens >= 1 else tokens, now)
        buckets.move_to_end(job.owner)
        if len(buckets) > _MOST_OWNERS:
            buckets.popitem(last=False)
        if tokens < 1:
            meter.add(REJECTED, "rate_limited")
            raise RateLimited(per_minute, max(1.0, (1 - tokens) * 60 / per_minute))
        return await handle(job)

    return limited if per_minute else handle
