"""Split a request's time into stages: every moment belongs to exactly one stage."""

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from types import MappingProxyType

Part = tuple[str, float]  # a stage, and seconds that belong to it
_MAX_PARTS = 512  # a camera's stream calls a model for days


class Timeline:
    """Charges the time since the last mark to a stage; the stages sum to the total time.

    `parts` are the marks in their order, `started` is the time of the first on the clock.
    """

    __slots__ = ("_clock", "_last", "_summed", "_sums", "parts", "started")

    def __init__(
        self, started: float | None = None, *, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._clock = clock
        self.started = self._last = clock() if started is None else started
        self.parts: list[Part] = []
        self._sums: dict[str, float] = {}
        self._summed = 0  # parts

    @property
    def seconds(self) -> dict[str, float]:
        """Return the time of each stage so far."""
        if self._summed < len(self.parts):
            self._sums = summed(self.parts[self._summed :], self._sums)
            self._summed = len(self.parts)
        return self._sums

    @property
    def total_seconds(self) -> float:
        """Return the time charged so far."""
        return self._last - self.started

    def mark(self, stage: str, *, at: float | None = None) -> None:
        """Charge the time since the last mark to `stage`, until now or until `at`."""
        now = self._clock() if at is None else max(at, self._last)
        self._add((stage, now - self._last))
        self._last = now

    def stage(self, name: str) -> "Stage":
        """Charge the time of a `with` block to a stage, also if the block raises."""
        return Stage(self, name)

    def split(
        self,
        measured: Mapping[str, float] | Iterable[Part],
        rest: str,
        *,
        began: float | None = None,
    ) -> None:
        """Split the time since the last mark by measured seconds; the remainder goes to `rest`.

        `began` is when the measured parts began, on this clock; by default at the last mark, and
        a measured part that is `rest` gets the remainder. Parts that exceed the elapsed time
        (another clock, or overlapping parts) are scaled down, so that the sum stays correct.
        """
        parts = list(measured.items() if isinstance(measured, Mapping) else measured)
        now = self._clock()
        elapsed, known = now - self._last, sum([seconds for _, seconds in parts])
        if known > elapsed:
            parts = [(stage, seconds * (elapsed / known)) for stage, seconds in parts]
        remainder = max(0.0, elapsed - known)
        if began is None and rest in measured:
            parts = [(stage, s + remainder * (stage == rest)) for stage, s in parts]
            remainder = 0.0
        before = 0.0 if began is None else min(max(0.0, began - self._last), remainder)
        first = [(rest, before)] if before else []
        self._add(*first, *parts, (rest, remainder - before))
        self._last = now

    def _add(self, *parts: Part) -> None:
        """Add parts. Of too many, only the sums are kept."""
        if len(self.parts) >= _MAX_PARTS:
            self.parts = list(self.seconds.items())
            self._summed = len(self.parts)
        self.parts += parts


def summed(
    parts: Iterable[Part], before: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """Return the seconds of each stage, in the order in which the stages began.

    `before` are the sums of earlier parts.
    """
    seconds = dict(before)
    for stage, part in parts:
        seconds[stage] = seconds.get(stage, 0.0) + part
    return seconds


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
