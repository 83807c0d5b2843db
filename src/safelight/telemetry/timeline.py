"""Split a request's time into stages: every moment belongs to exactly one stage."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from time import perf_counter


class Timeline:
    """Charges the time since the last mark to a stage; the stages sum to the total time."""

    __slots__ = ("_clock", "_last", "seconds")

    def __init__(
        self, started: float | None = None, *, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._clock = clock
        self._last = clock() if started is None else started
        self.seconds: dict[str, float] = defaultdict(float)

    @property
    def total_seconds(self) -> float:
        """Return the time charged so far."""
        return sum(self.seconds.values())

    def mark(self, stage: str, *, at: float | None = None) -> None:
        """Charge the time since the last mark to `stage`, until now or until `at`."""
        now = self._clock() if at is None else max(at, self._last)
        self.seconds[stage] += now - self._last
        self._last = now

    def stage(self, name: str) -> "Stage":
        """Charge the time of a `with` block to a stage, also if the block raises."""
        return Stage(self, name)

    def split(self, measured: Mapping[str, float], rest: str) -> None:
        """Split the time since the last mark by measured seconds; the remainder goes to `rest`.

        If the measured parts exceed the elapsed time (another clock, or overlapping parts), they
        are scaled down so that the sum stays correct.
        """
        now = self._clock()
        elapsed, parts = now - self._last, sum(measured.values())
        scale = min(1.0, elapsed / parts) if parts > 0 else 0.0
        for stage, seconds in measured.items():
            self.seconds[stage] += seconds * scale
        self.seconds[rest] += max(0.0, elapsed - parts * scale)
        self._last = now


class Stage:
    """The `with` block of a stage; a generator's would take 1 µs more."""

    __slots__ = ("_name", "_timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self._timeline = timeline
        self._name = name

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, *_error: object) -> None:
        """Charge its time."""
        self._timeline.mark(self._name)
