"""The state of a model, from the runs of its canary.

A shallow run asks whether the worker answers. A deep run makes a golden output. They are counted
apart: a worker that answers is not a model that is right.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

_RUNS = 3  # of these, so many decide:
_WRONG, _SLOW = 2, 3
_MISSES = 3
GOOD_RUNS = 3  # in a row, until a model that failed counts as healthy again
STEP_FACTOR = 20.0
STEP_FLOOR_SECONDS = 10.0


class State(StrEnum):
    """What is known of a model. Only `GOOD` and `SLOW` models are right as far as is known."""

    UNKNOWN = "unknown"
    GOOD = "good"
    SLOW = "slow"
    WRONG = "wrong"
    HUNG = "hung"
    DEAD = "dead"


BROKEN = frozenset({State.WRONG, State.HUNG, State.DEAD})


@dataclass(frozen=True, slots=True)
class Deep:
    """The result of a deep run: GOOD, SLOW, WRONG, HUNG or DEAD, and why.

    A result that noise cannot cause is `certain`, and needs no second run.
    """

    state: State
    why: str = ""
    certain: bool = False


@dataclass(slots=True)
class Health:
    """The state of one worker's model.

    Dead (deep): a run was not answered. Hung: a run made no step for too long. Wrong: two of the
    last three runs were wrong, or one for certain. Slow: the last three runs were slow. Dead
    (shallow): three misses in a row. Three good runs of the same depth in a row end a state.
    """

    state: State = State.UNKNOWN
    why: str = ""
    misses: int = 0
    good: int = 0
    _runs: deque[State] = field(default_factory=lambda: deque(maxlen=_RUNS))
    _unanswered: bool = False
    _answers: int = 0

    @property
    def verdict(self) -> State:
        """Return the state by both depths; a miss outweighs what an earlier deep run found."""
        return State.DEAD if self._unanswered else self.state

    @property
    def reason(self) -> str:
        """Return why the verdict is what it is."""
        return "the worker does not answer" if self._unanswered else self.why

    @property
    def broken(self) -> bool:
        """Return whether the model must not serve."""
        return self.verdict in BROKEN

    @property
    def suspect(self) -> bool:
        """Return whether the next run should come at once: the last was wrong, or it recovers.

        Slow runs do not hurry the next one: what slows three runs in one second may end at once.
        """
        return bool(self._runs) and (self.broken or self._runs[-1] is State.WRONG)

    def answered(self, *, in_time: bool) -> None:
        """Add a shallow run."""
        if not in_time:
            self.misses, self._answers = self.misses + 1, 0
            self._unanswered |= self.misses >= _MISSES
            return
        self.misses, self._answers = 0, self._answers + 1
        self._unanswered &= self._answers < GOOD_RUNS

    def ran(self, run: Deep) -> None:
        """Add a deep run."""
        self._runs.append(run.state)
        self.good = self.good + 1 if run.state in (State.GOOD, State.SLOW) else 0
        state = self._judged(run)
        if state is not self.state or state in BROKEN:
            self.state, self.why = state, run.why or self.why
        if state is State.GOOD:
            self.why = ""

    def refused(self, why: str) -> None:
        """Note why nothing is known of the model's outputs."""
        if self.state is State.UNKNOWN:
            self.why = why

    def _judged(self, run: Deep) -> State:
        runs = list(self._runs)
        if run.state in (State.HUNG, State.DEAD):
            return run.state
        if runs.count(State.WRONG) >= _WRONG or run.certain:
            return State.WRONG
        recovers = self.state in BROKEN and self.good < GOOD_RUNS
        if recovers or run.state is State.WRONG:  # one wrong run of three proves nothing
            return self.state
        stays_slow = self.state is State.SLOW and run.state is State.SLOW
        return State.SLOW if stays_slow or runs.count(State.SLOW) >= _SLOW else State.GOOD

    def forget(self) -> None:
        """Start again: the model was loaded again. A broken model stays so until it recovers."""
        self._runs.clear()
        self.misses, self.good, self._answers, self._unanswered = 0, 0, 0, False


def step_limit(seconds: float, steps: int) -> float:
    """Return how long a run may take without a step: 20 times a usual step, at least 10 s.

    `seconds` is the usual time of the run; a model without steps has one step.
    """
    return max(STEP_FLOOR_SECONDS, STEP_FACTOR * seconds / max(1, steps))
