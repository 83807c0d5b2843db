"""A budget of device seconds for each hour, for work that no caller waits for. Arithmetic only."""

from dataclasses import dataclass

_HOUR = 3600.0
_START = 1 / 60  # of an hour's budget, at the start


@dataclass(slots=True)
class Budget:
    """Seconds that may be spent. They grow with time, up to those of one hour.

    Times are seconds on any clock. A clock that jumps back adds nothing, one that jumps forward
    adds at most an hour's budget. A budget of 0 allows nothing.
    """

    seconds_per_hour: float
    left: float = 0.0
    _at: float | None = None

    def __post_init__(self) -> None:
        """Begin with a part of an hour's budget."""
        self.left = self.seconds_per_hour * _START

    def allows(self, now: float) -> bool:
        """Return whether work may begin now."""
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        earned = passed / _HOUR * self.seconds_per_hour
        self.left = min(self.seconds_per_hour, self.left + earned)
        return self.left > 0

    def spend(self, seconds: float) -> None:
        """Count seconds that were spent; the last work may spend more than is left."""
        self.left -= max(0.0, seconds)
