"""Decide on a rollout in steps: promote, hold or roll back. Arithmetic only.

Silence and time alone never promote: each step needs its own requests, and for each measure the
proof that B lost less than its margin. A rollback needs one proof. Owners are sticky and differ, so
it is a proof beside what the owners' own records explain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Literal

from safelight.guard.arms import ERRORS, LATENCY, SCORE, Arm, MeasureName
from safelight.guard.blame import LEAST_FAILURES, Blame, expected, hard_share
from safelight.guard.owners import SLOTS, Difference, between, cluster_of, slot_of, together, within
from safelight.guard.sequential import Interval, Moments, difference

Status = Literal["running", "paused", "done", "rolled_back", "aborted"]
Action = Literal["start", "promote", "hold", "roll_back", "pause", "resume", "abort"]
ENDED: tuple[Status, ...] = ("rolled_back", "aborted")

_DECISIONS = 100  # that are kept, the newest
_WORSE_ALPHA = 0.01 / 3 / 2  # that an equal B is rolled back: for 3 measures, each in two ways
_SAFE_ALPHA = 0.1  # two-sided: a loss above the margin goes unseen with a probability of 0.05
_LOWEST_RATE, _HIGHEST_RATE = 0.001, 0.99  # of failures that are expected


@dataclass(frozen=True, slots=True)
class Guard:
    """A measure of both models' requests.

    `least` is the smallest loss that matters, `margin` the largest that a promotion accepts.
    """

    name: MeasureName
    least: float
    margin: float
    grain: float
    more_is_better: bool = False
    is_optional: bool = False


GUARDS = (
    Guard(LATENCY, log(1.02), log(1.10), 0.01),
    Guard(ERRORS, 0.0, 0.05, 1.0),
    Guard(SCORE, 0.01, 0.05, 0.02, more_is_better=True, is_optional=True),
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
class Rollout:
    """The state of a rollout. It can be written as JSON, so a restart continues it."""

    plan: Plan
    place: int = 0
    status: Status = "running"
    a: Arm = field(default_factory=Arm)
    b: Arm = field(default_factory=Arm)
    decisions: list[Decision] = field(default_factory=list)
    before: Arm = field(default_factory=Arm)
    """The owners' records: of A before the start, and of failures of both models since then."""
    blame: Blame = field(default_factory=Blame)

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
        return slot_of(owner or request_id) < self.percent * SLOTS // 100

    # ── Evidence ─────────────────────────────────────────────────────────────────────────────────

    def add_first(self, owner: str = "", *, ok: bool, seconds_per_unit: float | None) -> None:
        """Count a request that A served, or failed."""
        cluster = cluster_of(owner)
        self.a.add(ok=ok, seconds_per_unit=seconds_per_unit, owner=cluster)
        self.before.learn(ERRORS, float(not ok), cluster)

    def add_second(self, owner: str = "", *, ok: bool, seconds_per_unit: float | None) -> None:
        """Count a request that B served, or failed."""
        cluster = cluster_of(owner)
        self.blame.add(ok=ok, rate=self._expected(cluster))
        self.b.add(ok=ok, seconds_per_unit=seconds_per_unit, owner=cluster)
        self.before.learn(ERRORS, float(not ok), cluster)

    def ran_again(self, owner: str, *, ok: bool) -> None:
        """Note what A made of a request that B failed: it is part of the owner's record only."""
        self.before.learn(ERRORS, float(not ok), cluster_of(owner))

    def _expected(self, cluster: int | None) -> float:
        """Return the failure rate that an owner's next request has, if B is like A."""
        requests = self.a.n + self.before.n
        failures = self.a.failures + self.before.failures
        allowed = max(1 - self.plan.objective, _LOWEST_RATE)
        usual = min(max(allowed, (failures + allowed) / (requests + 1)), _HIGHEST_RATE)
        records = self.before.owners.get(ERRORS, {})
        own = (
            usual
            if cluster is None
            else expected(records.get(cluster, Moments()), usual, hard_share(records.values()))
        )
        return min(max(own, usual, self.a.recent), _HIGHEST_RATE)

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
        b = self.b
        if self.blame.proven and b.failures >= LEAST_FAILURES:
            return (
                f"B failed {b.in_a_row} requests in a row"
                if b.in_a_row >= LEAST_FAILURES
                else f"B failed {b.failures} of {b.n} requests, more than their owners explain"
            )
        for guard in GUARDS:
            if guard.name != ERRORS and self._loses(guard):
                return f"B is worse in {guard.name}"
        return None

    def _loses(self, guard: Guard) -> bool:
        """Return whether B is surely worse than its owners' records, or than other owners' A.

        If all owners of A changed since the start, the same change is not the fault of B.
        """
        own = self._own(guard)
        if own is None:
            first, second = self.a.sample(guard.name), self.b.sample(guard.name)
            found = between(first, second, _WORSE_ALPHA, grain=guard.grain)
            return _turned(guard, found).above(guard.least)
        shift = within(self.before.owners.get(guard.name, {}), self.a.owners.get(guard.name, {}))
        change = 0.0 if shift is None else -shift.mean if guard.more_is_better else shift.mean
        found = own.interval(_WORSE_ALPHA, grain=guard.grain)
        return _turned(guard, found).above(guard.least + max(0.0, change))

    def _own(self, guard: Guard) -> Difference | None:
        """Return how far B is from its owners' records of A; None if most values have none."""
        second = self.b.sample(guard.name)
        records = [arm.owners.get(guard.name, {}) for arm in (self.before, self.a)]
        own = within(together(records, second.owners), second.owners)
        return own if own and 2 * own.values >= second.values.n else None

    def missing(self) -> str:
        """Return what a promotion still needs; empty if it has everything."""
        if self.b.n < self.plan.least:
            return f"B needs {self.plan.least} requests at this step"
        for guard in GUARDS:
            first, second = self._sums(guard)
            if guard.is_optional and not (first.n or second.n):
                continue  # a model that makes no images has no score
            own = None if guard.name == ERRORS else self._own(guard)
            found = (
                difference(first, second, _SAFE_ALPHA, grain=guard.grain)
                if own is None
                else own.interval(_SAFE_ALPHA, grain=guard.grain)
            )
            if not _turned(guard, found).below(guard.margin):
                return f"{guard.name} is not proven to be as good"
        return ""

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
        """Stay at this step until the operator resumes. Guards still roll back."""
        self.status = "paused"
        return self._note(at, "pause", "the operator paused it")

    def resume(self, at: float) -> Decision:
        """Decide again; the evidence of this step stays."""
        self.status = "running"
        return self._note(at, "resume", "the operator resumed it")

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
            self.blame = Blame()
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


def _turned(guard: Guard, found: Interval) -> Interval:
    """Return the interval of a loss, from one of a difference."""
    return Interval(-found.high, -found.low) if guard.more_is_better else found
