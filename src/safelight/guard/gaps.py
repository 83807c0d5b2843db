"""The usual time between two requests, and what is short beside it. Arithmetic only."""

from dataclasses import dataclass

_SHORT = 0.1  # of the usual gap: about one such work in ten meets a request
_WEIGHT = 0.1  # of the last gap in the mean


@dataclass(slots=True)
class Gaps:
    """A moving mean of the gaps. Times are seconds on any clock; one that jumps back adds 0."""

    usual: float | None = None
    _last: float | None = None

    def arrived(self, now: float) -> None:
        """Note a request."""
        if self._last is not None:
            gap = max(0.0, now - self._last)
            self.usual = gap if self.usual is None else self.usual + _WEIGHT * (gap - self.usual)
        self._last = now

    def is_short(self, seconds: float) -> bool:
        """Return whether work of so many seconds is short; yes while no gap is known."""
        return self.usual is None or seconds <= _SHORT * self.usual
