"""A running mean that is slow to fall, for costs that must not be underestimated; and a rate."""

from collections import deque

_RISE, _FALL = 0.3, 0.03
_TIMES = 32


def conservative_mean(mean: float, value: float) -> float:
    """Return the mean after one more value: it rises fast and falls slowly.

    Exponential smoothing with weight 0.3 for a larger value and 0.03 for a smaller one.
    """
    return mean + (_RISE if value > mean else _FALL) * (value - mean)


class Rate:
    """How often something happens, from the last 32 times."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times = deque[float](maxlen=_TIMES)

    def add(self, now: float) -> None:
        """Note that it happened at `now`, in seconds."""
        self._times.append(now)

    def per_second(self, now: float) -> float:
        """Return the rate until now: it falls while nothing happens. 0 if it is not known."""
        times = self._times
        return (len(times) - 1) / max(now - times[0], 1e-6) if len(times) > 1 else 0.0
