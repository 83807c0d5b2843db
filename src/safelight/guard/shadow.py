"""Compare model B with model A by pairs: better, worse or undecided, at any time. Arithmetic only.

A third arm runs A again. Its pairs are the noise floor: what A differs from itself is no finding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Literal

from safelight.guard.pairs import BY_NAME, MEASURES, VALIDITY, Measure, Pair
from safelight.guard.sequential import (
    ANYWHERE,
    Interval,
    Moments,
    half_width,
    interval,
    more_losses,
)

Verdict = Literal["better", "worse", "different", "undecided"]
Overall = Literal["better", "worse", "undecided"]
ALL = "all"
OTHER = "other"

ALPHA = 0.01  # probability that an equal B is ever called worse; the same for better
_FLOOR_ALPHA = 0.05  # of the noise floor
_LEAST_PAIRS = 10
_TYPES = 10  # instruction types with rows of their own; later ones share `other`
_AT_ONCE = 6  # measures that count: an edit has the most of them


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a measure of all pairs, or of those of one instruction type.

    `value` and its interval are B minus A; of a ratio they are B / A. `floor` is how far A is from
    itself at most; None while that is unknown.
    """

    measure: str
    instruction_type: str
    n: int
    value: float
    low: float | None
    high: float | None
    floor: float | None
    verdict: Verdict


@dataclass(slots=True)
class Comparison:
    """All pairs so far, as sums. Constant memory for each measure and type; JSON can hold it."""

    pairs: int = 0
    sums: dict[str, dict[str, Moments]] = field(default_factory=dict)
    """By instruction type, then by measure."""
    again: dict[str, Moments] = field(default_factory=dict)
    """The third arm, by measure."""

    def add(self, pair: Pair) -> None:
        """Add a pair of B and A."""
        self.pairs += 1
        for kind in (ALL, self._kind(pair.instruction_type)):
            _add(self.sums.setdefault(kind, {}), pair.values)

    def add_again(self, pair: Pair) -> None:
        """Add a pair of A and A."""
        _add(self.again, pair.values)

    def _kind(self, name: str) -> str:
        is_known = name in self.sums or len(self.sums) < _TYPES  # with ALL, before OTHER
        return name if is_known and name != ALL else OTHER

    def rows(self) -> list[Row]:
        """Return the verdict of each measure: first of all pairs, then by instruction type."""
        kinds = sorted(self.sums, key=lambda kind: (kind != ALL, kind))
        return [
            self._row(measure, kind, self.sums[kind][measure.name])
            for kind in kinds
            for measure in MEASURES
            if measure.name in self.sums[kind]
        ]

    def _row(self, measure: Measure, kind: str, values: Moments) -> Row:
        found = self._interval(measure, kind, values)
        floor = self._floor(measure)
        return Row(
            measure.name,
            kind,
            values.n,
            _shown(measure, values.mean),
            None if found == ANYWHERE else _shown(measure, found.low),
            None if found == ANYWHERE else _shown(measure, found.high),
            None if floor is None else _shown(measure, floor),
            _by_signs(values, _alpha(kind))
            if measure is VALIDITY
            else _verdict(measure, found, floor),
        )

    def _interval(self, measure: Measure, kind: str, values: Moments) -> Interval:
        if values.n < _LEAST_PAIRS:
            return ANYWHERE
        found = interval(values, _alpha(kind), grain=measure.grain)
        return ANYWHERE if found.high - found.low == float("inf") else found

    def _floor(self, measure: Measure) -> float | None:
        """Return how far A is from itself; None while the third arm has too few pairs.

        Latency and memory need none, because both of their values come from copies that ran alone;
        nor does validity, whose signs are those of a fair coin if B is like A.
        """
        if measure.is_ratio or measure is VALIDITY:
            return 0.0
        values = self.again.get(measure.name)
        if values is None or values.n < _LEAST_PAIRS:
            return None
        return abs(values.mean) + _wobble(measure, values)

    def verdict(self) -> Overall:
        """Return the verdict of all measures together.

        One that is worse is enough for `worse`. `better` needs one that is better, and of each
        other the proof that it lost less than its margin.
        """
        rows = [(row, self._margin_kept(row)) for row in self.rows()]
        counted = [(row, kept) for row, kept in rows if _measure(row).counts]
        if any(row.verdict == "worse" for row, _ in counted):
            return "worse"
        of_all = [(row, kept) for row, kept in counted if row.instruction_type == ALL]
        has_gain = any(row.verdict == "better" for row, _ in of_all)
        return "better" if has_gain and all(kept for _, kept in of_all) else "undecided"

    def _margin_kept(self, row: Row) -> bool:
        """Return whether B surely lost less of a measure than its margin."""
        measure = _measure(row)
        values = self.sums[row.instruction_type][row.measure]
        found = self._interval(measure, row.instruction_type, values)
        floor = self._floor(measure) or 0.0
        if measure.good == "more":
            return found.above(-measure.margin)
        return found.below(measure.margin + floor)


def _add(sums: dict[str, Moments], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums.setdefault(name, Moments()).add(value)


def _alpha(kind: str) -> float:
    """Return the share of one measure, for both directions together.

    Half of ALPHA is for the rows of all pairs, half for those of the types.
    """
    share = 2 * ALPHA / 2 / _AT_ONCE
    return share if kind == ALL else share / _TYPES


def _wobble(measure: Measure, values: Moments) -> float:
    """Return how much the mean of the third arm may still be off."""
    return half_width(values, _FLOOR_ALPHA, measure.grain if measure.is_distance else 0.0)


def _measure(row: Row) -> Measure:
    return BY_NAME[row.measure]


def _by_signs(values: Moments, alpha: float) -> Verdict:
    """Return the verdict on values of -1, 0 and 1: rare ones need the exact test of their signs."""
    gain = round(values.n * values.mean)
    unequal = round(values.squares + values.n * values.mean**2)
    losses, wins = (unequal - gain) // 2, (unequal + gain) // 2
    if more_losses(losses, wins) >= 2 / alpha:
        return "worse"
    return "better" if more_losses(wins, losses) >= 2 / alpha else "undecided"


def _verdict(measure: Measure, found: Interval, floor: float | None) -> Verdict:
    if floor is None:
        return "undecided"
    limit = floor + measure.least
    if measure.is_distance:
        is_far = found.above(limit)
        return ("worse" if measure.counts else "different") if is_far else "undecided"
    gain = found if measure.good == "more" else Interval(-found.high, -found.low)
    if gain.above(limit):
        return "better"
    return "worse" if gain.below(-limit) else "undecided"


def _shown(measure: Measure, value: float) -> float:
    return exp(value) if measure.is_ratio else value
