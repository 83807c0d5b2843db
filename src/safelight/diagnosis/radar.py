"""How well each type of instruction is served: four axes from 0 to 10, from records. Pure.

Every axis rests on at least LEAST_COUNT requests, and tells its interval; else it is silent.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from safelight.diagnosis.estimates import Estimate, agreement, deviation, mean, product, share
from safelight.errors import (
    BadInput,
    Cancelled,
    CircuitOpen,
    NotReady,
    Overloaded,
    RateLimited,
    Stopping,
)
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.reasons import ERROR_CLASSES
from safelight.records.rows import Remembered

AXES = ("accuracy", "speed", "structure", "stability")
TARGET_SECONDS = 3.0
UNSTABLE_DEVIATION = 0.25  # of a score from 0 to 1: evenly spread ones deviate by 0.29
_TOP = 10.0
# The caller's own doing, or refused before the model saw it: neither tells of the instruction.
_ASIDE = (BadInput, Cancelled, CircuitOpen, NotReady, Overloaded, RateLimited, Stopping)
_NOT_COUNTED = frozenset(
    reason for reason, kind in ERROR_CLASSES.items() if issubclass(kind, _ASIDE)
)


@dataclass(frozen=True, slots=True)
class Type:
    """One type of instruction: its axes, its share of good answers, and how it is rated."""

    name: str
    requests: int
    axes: Mapping[str, Estimate | None]
    success: Estimate | None
    rating: Estimate | None


@dataclass(frozen=True, slots=True)
class Radar:
    """All types, the most frequent first; `agreement` is Spearman's, of ratings and scores."""

    types: tuple[Type, ...]
    requests: int
    agreement: Estimate | None
    rated: int

    @property
    def leaders(self) -> tuple[Type, ...]:
        """Return the types by their success, the best first, those that have too few left out.

        By the lower end of the interval: few good answers do not yet beat many.
        """
        ranked = [(each.success.low, each) for each in self.types if each.success is not None]
        ranked.sort(key=lambda pair: (-pair[0], pair[1].name))
        return tuple(each for _, each in ranked)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            **asdict(self),
            "types": [{**asdict(each), "axes": _axes_dict(each)} for each in self.types],
            "leaders": [each.name for each in self.leaders],
        }


def radar(requests: Iterable[Remembered], target_seconds: float = TARGET_SECONDS) -> Radar:
    """Return how each type is served; at `target_seconds` speed is in the middle of its axis."""
    counted = [each for each in requests if _counts(each)]
    by_type: dict[str, list[Remembered]] = defaultdict(list)
    for each in counted:
        by_type[each.instruction_type].append(each)
    rated = [
        (float(each.rating), each.score)
        for each in counted
        if each.rating is not None and each.score is not None
    ]
    types = [_type(name, own, target_seconds) for name, own in by_type.items()]
    types.sort(key=lambda each: (-each.requests, each.name))
    return Radar(tuple(types), len(counted), agreement(rated), len(rated))


def _counts(request: Remembered) -> bool:
    return request.instruction_type != NO_INSTRUCTION and request.error not in _NOT_COUNTED


def _type(name: str, requests: Sequence[Remembered], target_seconds: float) -> Type:
    success = share(sum(each.succeeded for each in requests), len(requests))
    axes = {
        "accuracy": _accuracy(requests, success),
        "speed": _speed(requests, target_seconds),
        "structure": mean([each.structure for each in requests if each.structure is not None]),
        "stability": _stability(requests),
    }
    rating = mean([float(each.rating) for each in requests if each.rating is not None])
    on_axes = {axis: _on_axis(found) for axis, found in axes.items()}
    return Type(name, len(requests), on_axes, success, rating)


def _accuracy(requests: Sequence[Remembered], success: Estimate | None) -> Estimate | None:
    """Return the share that succeeded, times how well what was made fits, where that is known."""
    good = (each.adherence for each in requests if each.succeeded)
    fits = mean([fit for fit in good if fit is not None])
    return product(success, fits) if success is not None and fits is not None else success


def _speed(requests: Sequence[Remembered], target_seconds: float) -> Estimate | None:
    """Return the mean of target / (target + time): 1 at once, a half at the target, 0 for ever."""
    answered = (each.service_seconds for each in requests if each.succeeded)
    return mean([target_seconds / (target_seconds + max(0.0, taken)) for taken in answered])


def _stability(requests: Sequence[Remembered]) -> Estimate | None:
    """Return 1 for scores that are all alike, 0 for those that deviate by UNSTABLE_DEVIATION."""
    spread = deviation([each.score for each in requests if each.score is not None])
    if spread is None:
        return None
    return Estimate(
        1 - spread.value / UNSTABLE_DEVIATION,
        1 - spread.high / UNSTABLE_DEVIATION,
        1 - spread.low / UNSTABLE_DEVIATION,
        spread.count,
    )


def _on_axis(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    ends = {
        name: max(0.0, min(1.0, getattr(found, name))) * _TOP for name in ("value", "low", "high")
    }
    return replace(found, **ends)


def _axes_dict(each: Type) -> dict[str, Any]:
    return {axis: asdict(found) if found else None for axis, found in each.axes.items()}
