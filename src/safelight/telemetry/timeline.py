"""Where a request's time goes: every moment belongs to exactly one stage."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter


class Timeline:
    """Charges the time since the last mark to a stage; the stages always sum to the whole."""

    __slots__ = ("_clock", "_last", "seconds")

    def __init__(
        self, started: float | None = None, *, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._clock = clock
        self._last = clock() if started is None else started
        self.seconds: dict[str, float] = defaultdict(float)

    @property
    def total_seconds(self) -> float:
        """Return the time that has been charged so far."""
        return sum(self.seconds.values())

    def mark(self, stage: str, *, at: float | None = None) -> None:
        """Charge the time since the last mark to `stage`, until now or an earlier moment."""
        now = self._clock() if at is None else max(at, self._last)
        self.seconds[stage] += now - self._last
        self._last = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the block's time to a stage, also where the block raises."""
        try:
            yield
        finally:
            self.mark(name)

    def share(self, measured: Mapping[str, float], rest: str) -> None:
        """Charge the time since the last mark as somebody else measured it, what is left to `rest`.

        Where the parts come to more than has passed here (another clock, or two at once), they are
        scaled down, so that the sum still holds.
        """
        now = self._clock()
        elapsed, parts = now - self._last, sum(measured.values())
        scale = min(1.0, elapsed / parts) if parts > 0 else 0.0
        for stage, seconds in measured.items():
            self.seconds[stage] += seconds * scale
        self.seconds[rest] += max(0.0, elapsed - parts * scale)
        self._last = now
