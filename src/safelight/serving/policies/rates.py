"""Rate limits: one token bucket per caller. A request takes its token before its body is read."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from safelight.errors import RateLimited
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter

_OWNER_LIMIT = 10_000
_BURST_SECONDS = 10.0


class Buckets:
    """A rate per minute for each caller, with bursts of ten seconds' worth; 0 is no limit."""

    def __init__(
        self, per_minute: float, meter: Meter, clock: Callable[[], float] = monotonic
    ) -> None:
        self._per_minute = per_minute
        self._capacity = max(1.0, per_minute * _BURST_SECONDS / 60)
        self._meter = meter
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, updated at

    def take(self, owner: str) -> None:
        """Take one of the caller's tokens. Raises RateLimited if there is none."""
        if not self._per_minute:
            return
        now = self._clock()
        tokens = self._tokens(owner, now)
        self._buckets[owner] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(owner)
        if len(self._buckets) > _OWNER_LIMIT:
            self._buckets.popitem(last=False)
        if tokens < 1:
            self._meter.add(REJECTED, "rate_limited")
            raise RateLimited(self._per_minute, max(1.0, (1 - tokens) * 60 / self._per_minute))

    def charge(self, owner: str, number: int) -> None:
        """Take tokens for a request that turned out to be several; what is missing is a debt."""
        if self._per_minute and number:
            now = self._clock()
            self._buckets[owner] = (self._tokens(owner, now) - number, now)

    def _tokens(self, owner: str, now: float) -> float:
        tokens, updated_at = self._buckets.get(owner, (self._capacity, now))
        return min(self._capacity, tokens + (now - updated_at) * self._per_minute / 60)
