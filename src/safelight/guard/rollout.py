"""Decide on a rollout in steps: promote, hold or roll back. Arithmetic only.

Silence and time alone never promote: each step needs its own requests, and for each measure the
proof that B lost less than its margin. A rollback needs one proof, or one clear failure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import log
from typing import Literal

from safelight.guard.sequential import Interval, Moments, difference

Status = Literal["running", "paused", "done", "rolled_back", "aborted"]
Action = Literal["start", "promote", "hold", "roll_back", "pause", "abort"]
ENDED: tuple[Status, ...] = ("rolled_back", "aborted")

_SLOTS = 10_000  # a hundredth of a percent of the owners each
_DECISIONS = 100  # that are kept, the newest
_FAILURES_IN_A_ROW = 3  # of B: a clear failure, without statistics
_WORSE_ALPHA = 0.01 / 3  # probability that an equal B is rolled back because of one of 3 measures
_SAFE_ALPHA = 0.1  # two-sided: a loss above the margin goes unseen with a probability of 0.05
_BURN_LIMIT = 14.4  # times the errors that the objective allows: SRE Workbook, chapter 5
_LEAST_BURN = 20  # requests of B for a statement about errors


@dataclass(frozen=True, slots=True)
class Guard:
    """A measure of both models' requests.

    `least` is the smallest loss that matters, `margin` the largest that a promotion accepts.
    """

    name: str
    least: float
    margin: float
    grain: float
    more_is_better: bool = False
    is_optional: bool = False


GUARDS = (
    Guard("latency", log(1.02), log(1.10), 0.01),
    Guard("errors", 0.0, 0.05, 1.0),
    Guard("score", 0.01, 0.05, 0.02, more_is_better=True, is_optional=True),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the operator asked for: model B, the steps in percent, and requests of B for each."""

    model: str
    steps: tuple[int, ...] = (5, 25, 50, 100)
    least: int = 50
    objective: float = 0.99

    def __post_init__(self) -> None:
        """Raise ValueError for steps or numbers that make no sense."""
        steps = self.steps
        if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] > 100:
            raise ValueError("The steps must rise, from 1 to at most 100 percent, such as 5,25,100")
        if self.least < 1:
            raise ValueError("A step needs at least one request of B")
        if not 0 <= self.objective < 1:
            raise ValueError("The objective must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with the figures that led to it. `at` is Unix time, only to be read."""

    at: float
    action: Action
    percent: int
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Arm:
    """The requests of one model: those of A since the start, those of B since the last step."""

    n: int = 0
    failures: int = 0
    in_a_row: int = 0
    sums: dict[str, Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no requests can give."""
        if not 0 <= self.failures <= self.n or not 0 <= self.in_a_row <= self.n:
            raise ValueError("A model cannot fail more requests than it had")

    def add(self, *, ok: bool, seconds_per_unit: float | None) -> None:
        """Count a request that this model served, or failed."""
        self.n += 1
        self.failures += not ok
        self.in_a_row = 0 if ok else self.in_a_row + 1
        self.measure("errors", float(not ok))
        if ok and seconds_per_unit:
            self.measure("latency", log(seconds_per_unit))

    def measure(self, name: str, value: float) -> None:
        """Add a value of a guard."""
        self.sums.setdefault(name, Moments()).add(value)


@dataclass(slots=True)
class Rollout:
    """The state of a rollout. It can be written as JSON, so a restart continues it."""

    plan: Plan
    place: int = 0
    status: Status = "running"
    a: Arm = field(default_factory=Arm)
    b: Arm = field(default_factory=Arm)
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise ValueError if the state names a step that the plan does not have."""
        if not 0 <= self.place < len(self.plan.steps):
            raise ValueError("The state names a step that the plan does not have")

    @property
    def percent(self) -> int:
        """Return the share of owners that B serves now, in percent."""
        return 0 if self.status in ENDED else self.plan.steps[self.place]

    def serves(self, owner: str, request_id: str) -> bool:
        """Return whether B serves a request: always the same answer for an owner at one step.

        A caller that B served at a step keeps B at every higher one. Without an owner, each request
        has its own chance.
        """
        if not self.percent:
            return False
        digest = sha256((owner or request_id).encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8]) % _SLOTS < self.percent * _SLOTS // 100

    def decide(self, at: float) -> Decision | None:
        """Decide, act on it, and return the decision; None if nothing changed.

        A hold is returned once for each reason.
        """
        if self.status in ENDED:
            return None
        fault = self.fault()
        if fault is not None:
            return self.roll_back(at, fault)
        if self.status != "running":
            return None
        missing = self.missing()
        if missing:
            return self._hold(at, missing)
        return self._promote(at)

    def fault(self) -> str | None:
        """Return the proof that B is worse; None if there is none."""
        if self.b.in_a_row >= _FAILURES_IN_A_ROW > self.a.in_a_row:
            return f"B failed {self.b.in_a_row} requests in a row"
        burn, own = self.burn(self.b), self.burn(self.a)
        if self.b.n >= _LEAST_BURN and burn >= _BURN_LIMIT > 4 * own:
            return f"B spends its error budget {burn:.1f} times as fast as allowed"
        for guard in GUARDS:
            first, second = self._sums(guard)
            if _loss(guard, first, second, _WORSE_ALPHA).above(guard.least):
                return f"B is worse in {guard.name}"
        return None

    def missing(self) -> str:
        """Return what a promotion still needs; empty if it has everything."""
        if self.b.n < self.plan.least:
            return f"B needs {self.plan.least} requests at this step"
        for guard in GUARDS:
            first, second = self._sums(guard)
            if guard.is_optional and not (first.n or second.n):
                continue  # a model that makes no images has no score
            if not _loss(guard, first, second, _SAFE_ALPHA).below(guard.margin):
                return f"{guard.name} is not proven to be as good"
        return ""

    def burn(self, arm: Arm) -> float:
        """Return how many times as many requests fail as the objective allows; 0 for none."""
        return arm.failures / arm.n / (1 - self.plan.objective) if arm.n else 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures of this step."""
        values = {
            "requests_a": self.a.n,
            "requests_b": self.b.n,
            "failures_a": self.a.failures,
            "failures_b": self.b.failures,
        }
        named = {
            f"{guard.name}_difference": second.mean - first.mean
            for guard in GUARDS
            for first, second in [self._sums(guard)]
            if first.n and second.n
        }
        return {**values, **{name: round(value, 4) for name, value in named.items()}}

    def _sums(self, guard: Guard) -> tuple[Moments, Moments]:
        return self.a.sums.get(guard.name, Moments()), self.b.sums.get(guard.name, Moments())

    # ── Actions ──────────────────────────────────────────────────────────────────────────────────

    def start(self, at: float) -> Decision:
        """Note the start."""
        return self._note(at, "start", f"{self.plan.steps[0]} % of the callers get B")

    def roll_back(self, at: float, reason: str) -> Decision:
        """Give all callers model A again."""
        self.status = "rolled_back"
        return self._note(at, "roll_back", reason)

    def abort(self, at: float) -> Decision:
        """End the rollout by hand; A serves everyone."""
        self.status = "aborted"
        return self._note(at, "abort", "the operator ended it")

    def pause(self, at: float) -> Decision:
        """Stay at this step until the operator promotes. Guards still roll back."""
        self.status = "paused"
        return self._note(at, "pause", "the operator paused it")

    def promote(self, at: float) -> Decision:
        """Go to the next step by hand."""
        self.status = "running"
        return self._promote(at, "the operator promoted it")

    def _promote(self, at: float, reason: str = "B is as good in every measure") -> Decision:
        is_last = self.place + 1 == len(self.plan.steps)
        before = self.figures()
        if is_last:
            self.status = "done"
        else:
            self.place += 1
            self.b = Arm()  # what B did for few callers proves nothing about more
        return self._note(at, "promote", reason, before)

    def _hold(self, at: float, reason: str) -> Decision | None:
        last = self.decisions[-1] if self.decisions else None
        if last and (last.action, last.reason, last.percent) == ("hold", reason, self.percent):
            return None
        return self._note(at, "hold", reason)

    def _note(
        self, at: float, action: Action, reason: str, figures: Mapping[str, float] | None = None
    ) -> Decision:
        noted = self.figures() if figures is None else figures
        decision = Decision(at, action, self.percent, reason, noted)
        self.decisions = [*self.decisions, decision][-_DECISIONS:]
        return decision


def _loss(guard: Guard, first: Moments, second: Moments, alpha: float) -> Interval:
    """Return the interval of how much worse the second is than the first."""
    found = difference(first, second, alpha, grain=guard.grain)
    return Interval(-found.high, -found.low) if guard.more_is_better else found
