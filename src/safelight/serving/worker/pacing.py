"""Decide from idle times how many jobs a batch takes, and how long the model waits for more.

The aim is a device that stays busy while responses are sent. If callers send their next request
only after a response, a batch of all waiting jobs empties the queue: the model is then idle while
the responses are handled. Two groups of callers that take turns overlap. So if the model was idle
briefly between batches, a batch takes only half of the jobs.

If a batch has a high fixed cost, starting it for one caller makes the others wait for a whole extra
batch. Then the model waits for them, for a share of that cost, as long as they come often enough.
This is the only wait in the engine while a device is idle.
"""

from safelight.serving.statistics import conservative_mean

_IDLE_SHARE_LIMIT = 0.1  # mean idle share of a batch's time; above it, batches are halved
_LINGER_SHARE = 0.15  # of the fixed cost of a batch; also how often lingering must succeed
_MIN_LINGER_SECONDS = 0.001
_LEARN = 0.3  # weight of the last wait: one failed wait is tolerated, six in a row are not
_RETRY_EVERY = 8  # batches, if lingering rarely succeeds
_PAUSE_FACTOR = 3.0  # an idle time longer than this many batches means that there were no requests


class Pacing:
    """Observed idle times and arrivals between batches."""

    def __init__(self) -> None:
        self._mean_idle_share = 0.0
        self._was_idle = False
        self.last_size = 0
        self._last_seconds = 0.0
        self._arrival_ratio = 1.0  # how often a job arrived while the model lingered
        self._skipped = 0

    def linger_seconds(self, fixed_cost: float) -> float:
        """Return how long to wait for more jobs; `fixed_cost` is that of any batch, in seconds."""
        seconds = _LINGER_SHARE * fixed_cost
        if seconds < _MIN_LINGER_SECONDS:
            return 0.0
        if self._arrival_ratio < _LINGER_SHARE:
            self._skipped = (self._skipped + 1) % _RETRY_EVERY
            return 0.0 if self._skipped else seconds
        return seconds

    def lingered(self, *, arrivals: int) -> None:
        """Record how many jobs arrived during a wait."""
        self._arrival_ratio += _LEARN * ((arrivals > 0) - self._arrival_ratio)

    def idled(self, seconds: float) -> None:
        """Record how long the model was idle before the next batch."""
        last = self._last_seconds
        share = min(1.0, seconds / last) if 0 < seconds < _PAUSE_FACTOR * last else 0.0
        self._was_idle = share > _IDLE_SHARE_LIMIT
        # Falls slowly: two groups that overlap leave no idle time to observe.
        self._mean_idle_share = conservative_mean(self._mean_idle_share, share)

    def limit(self, waiting: int) -> int:
        """Return how many of the waiting jobs the next batch may take."""
        if self._mean_idle_share <= _IDLE_SHARE_LIMIT:
            return waiting
        # The last batch's callers will soon send again, unless their requests already wait here.
        expected = waiting if self._was_idle else waiting + self.last_size
        return max(1, -(-expected // 2))

    def finished(self, size: int, seconds: float) -> None:
        """Record a batch."""
        self.last_size, self._last_seconds = size, seconds
