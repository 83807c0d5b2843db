"""Keeps the device at work while answers are sent and the next requests are read.

Where callers send their next request once they have an answer, a batch of all that waits empties
the queue: the model idles while the answers are handled, and nothing is handled while it works. Two
groups that take turns overlap. So a model that was seen to idle shortly between batches, and only
such a one, takes half of the jobs at hand.

Where a batch costs much whatever its size, one that starts with the first of those callers costs
the others a whole one. There a share of that cost is waited for them, as long as they come often
enough to pay for it: the only wait in the engine while a device idles. Arithmetic only.
"""

from safelight.serving.statistics import wary

_STARVING = 0.1  # of a batch's time spent idling, as a mean, from which batches are halved
_LINGER = 0.15  # of what a batch costs whatever its size, and how often it must save that cost
_SHORTEST_LINGER_SECONDS = 0.001
_LEARN = 0.3  # how much the last wait counts: one in vain is forgiven, six in a row are not
_LOOK_AGAIN = 8  # batches, where they did not come
_PAUSE = 3.0  # times a batch's own: one longer means that nobody asked


class Pace:
    """What is known of how a model's batches follow each other."""

    def __init__(self) -> None:
        self._starving = 0.0
        self._idled = False
        self.last_number = 0
        self._last_seconds = 0.0
        self._returning = 1.0  # how often somebody came
        self._hurried = 0

    def linger_seconds(self, cost: float) -> float:
        """Return how long to wait for callers who were just answered; `cost` is of any batch."""
        seconds = _LINGER * cost
        if seconds < _SHORTEST_LINGER_SECONDS:
            return 0.0
        if self._returning < _LINGER:
            self._hurried = (self._hurried + 1) % _LOOK_AGAIN
            return 0.0 if self._hurried else seconds
        return seconds

    def lingered(self, *, came: int) -> None:
        """Note how many came while we waited."""
        self._returning += _LEARN * ((came > 0) - self._returning)

    def idled(self, seconds: float) -> None:
        """Note how long the model had nothing to do before the batch that comes now."""
        last = self._last_seconds
        share = min(1.0, seconds / last) if 0 < seconds < _PAUSE * last else 0.0
        self._idled = share > _STARVING
        self._starving = wary(self._starving, share)  # two groups that overlap idle no more

    def limit(self, waiting: int) -> int:
        """Return how many of the jobs that wait the next batch may take."""
        if self._starving <= _STARVING:
            return waiting
        # Those answered last are about to ask again, unless they are what waits here already.
        at_hand = waiting if self._idled else waiting + self.last_number
        return max(1, -(-at_hand // 2))

    def made(self, number: int, seconds: float) -> None:
        """Note a batch."""
        self.last_number, self._last_seconds = number, seconds
