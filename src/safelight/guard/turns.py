"""When the next run of a canary may begin, within its budget of device time."""

from dataclasses import dataclass

_WINDOW_SECONDS = 3600.0
_FIRST_SECONDS = 5.0  # the budget of a service that has just started
_APART_SECONDS = 1.0
_EARNED = 0.99  # of the ratio: the rest repays these seconds within a day


@dataclass(slots=True)
class Turns:
    """Spends at most `ratio` of the device's time, and runs no more often than `interval`.

    Times are seconds on any clock that never goes back. A clock that jumps forward makes a run due,
    and nothing else. With a ratio of 0 no run is ever due. Two runs are never closer than a second
    or the interval, so that a model that fails at once is not run again and again.
    """

    interval: float
    ratio: float
    _ran_at: float | None = None
    _tried_at: float | None = None
    _balance: float = _FIRST_SECONDS
    _balance_at: float | None = None

    def due(self, now: float, cost: float, *, soon: bool = False) -> bool:
        """Return whether a run of `cost` seconds may begin now; `soon` ignores the interval."""
        self._save(now)
        if self.ratio <= 0 or self._balance < min(cost, self._most()):
            return False
        waited = self._ran_at is None or now - self._ran_at >= self.interval
        apart = min(self.interval, _APART_SECONDS)
        rested = self._tried_at is None or now - self._tried_at >= apart
        return rested and (soon or waited)

    def spend(self, now: float, seconds: float, *, ran: bool) -> None:
        """Count device time. `ran` is False for a run that a request overtook."""
        self._save(now)
        self._balance -= seconds
        self._tried_at = now
        if ran:
            self._ran_at = now

    def _save(self, now: float) -> None:
        """Add what the budget earned since the last time, up to an hour's worth."""
        passed = 0.0 if self._balance_at is None else max(0.0, now - self._balance_at)
        self._balance = min(self._most(), self._balance + _EARNED * self.ratio * passed)
        self._balance_at = now

    def _most(self) -> float:
        return max(_FIRST_SECONDS, self.ratio * _WINDOW_SECONDS)
