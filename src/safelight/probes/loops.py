"""The denoising loops of one call: when each began and ended, and its steps.

Most pipelines have one loop. A combined pipeline has one after another (prior, decoder); others
have a loop inside a loop (an ensemble of predictions): then the inner ones have the steps.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Generic

from safelight.probes.timers import Mark, Timer

Now = Callable[[], Mark]


class Loop(Generic[Mark]):
    """One loop. `start` is None if only the ends of its steps are known."""

    def __init__(self, now: Now[Mark], start: Mark | None, *, nested: bool = False) -> None:
        self._now = now
        self.start = start
        self.end: Mark | None = None
        self.steps: list[Mark] = []
        self.nested = nested
        self.contains_loops = False

    def step(self) -> None:
        """Mark the end of a step."""
        self.steps.append(self._now())

    def finish(self) -> None:
        """Mark the end of the loop; only the first call counts."""
        if self.end is None:
            self.end = self._now()


class Loops(Generic[Mark]):
    """All loops of one call, in the order of their start."""

    def __init__(self, timer: Timer[Mark]) -> None:
        self._timer = timer
        self._loops: list[Loop[Mark]] = []

    @property
    def begun(self) -> bool:
        """Return True if a loop has begun."""
        return bool(self._loops)

    @property
    def has_steps(self) -> bool:
        """Return True if a loop has marked a step."""
        return any(loop.steps for loop in self._loops)

    def begin(self) -> Loop[Mark]:
        """Begin a loop, inside the loops that have not ended."""
        around = [loop for loop in self._loops if loop.end is None]
        for loop in around:
            loop.contains_loops = True
        loop = Loop(self._timer.mark, self._timer.mark(), nested=bool(around))
        self._loops.append(loop)
        return loop

    def adopt(self, loop: Loop[Mark]) -> None:
        """Add a loop that was observed by other means than its progress bar."""
        self._loops.append(loop)

    def step_seconds(self) -> tuple[float, ...]:
        """Return the seconds of every step; without a start the first step of a loop is unknown."""
        seconds: list[float] = []
        for loop in self._loops:
            if not loop.contains_loops:
                marks = loop.steps if loop.start is None else [loop.start, *loop.steps]
                seconds.extend(self._timer.seconds(a, b) for a, b in pairwise(marks))
        return tuple(seconds)

    def phases(self, started: Mark, encoded: Mark | None, ended: Mark) -> dict[str, float]:
        """Return seconds by phase; the phases are adjacent and sum to the call.

        Time between two loops is `encode_image`: the first loop's result becomes the input of the
        second. Without a loop whose start is known, all time is `predict`.
        """
        outer = [loop for loop in self._loops if not loop.nested and loop.start is not None]
        if not outer:
            return {"predict": self._between(started, ended)}
        phases: dict[str, float] = {}
        last = started
        if encoded is not None:
            self._add(phases, "encode_prompt", last, encoded)
            last = encoded
        for loop in outer:
            start, end = loop.start, loop.end if loop.end is not None else ended
            assert start is not None
            gap = "encode_image" if encoded is not None or phases else "encode_prompt"
            self._add(phases, gap, last, start)
            self._add(phases, "denoise", start, end)
            last = end
        if outer[-1].end is not None:
            self._add(phases, "decode_latents", last, ended)
        return phases

    def _add(self, phases: dict[str, float], phase: str, earlier: Mark, later: Mark) -> None:
        phases[phase] = phases.get(phase, 0.0) + self._between(earlier, later)

    def _between(self, earlier: Mark, later: Mark) -> float:
        return max(0.0, self._timer.seconds(earlier, later))
