"""Radar scores per instruction type, from records: four axes from 0 to 10.

Each score has an interval and needs at least LEAST_COUNT requests. Otherwise it is None.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from safelight.diagnosis.cost import Cost, costs
from safelight.diagnosis.estimates import Estimate, agreement, deviation, mean, product, share
from safelight.metrics.catalog import NO_INSTRUCTION, SPEED_TARGET_SECONDS
from safelight.reasons import UNRELATED
from safelight.records.rows import AssessedRequest
from safelight.rules.thresholds import UNSTABLE_DEVIATION

AXES = ("accuracy", "speed", "structure", "stability")
TARGET_SECONDS = SPEED_TARGET_SECONDS
_TOP = 10.0


@dataclass(frozen=True, slots=True)
class Type:
    """One instruction type: its axes, its success ratio and its mean rating."""

    name: str
    requests: int
    axes: Mapping[str, Estimate | None]
    success: Estimate | None
    rating: Estimate | None


@dataclass(frozen=True, slots=True)
class Radar:
    """All types, the most frequent first.

    `agreement` is Spearman's rank correlation of user ratings and quality scores.
    """

    types: tuple[Type, ...]
    requests: int
    agreement: Estimate | None
    rated: int
    costs: tuple[Cost, ...] = ()

    @property
    def leaders(self) -> tuple[Type, ...]:
        """Return the types by the lower bound of their success ratio, the best first.

        Types with too few requests are left out.
        """
        ranked = [(each.success.low, each) for each in self.types if each.success is not None]
        ranked.sort(key=lambda pair: (-pair[0], pair[1].name))
        return tuple(each for _, each in ranked)

    def as_dict(self) -> dict[str, object]:
        """Return the radar as JSON data."""
        return {
            **asdict(self),
            "types": [{**asdict(each), "axes": _axes_dict(each)} for each in self.types],
            "leaders": [each.name for each in self.leaders],
        }


def radar(
    requests: Iterable[AssessedRequest],
    target_seconds: float = TARGET_SECONDS,
    gpu_hour_price: float | None = None,
) -> Radar:
    """Return the scores of each type. A request of `target_seconds` has a speed of 5.

    The costs include the requests that have no score, such as cancelled ones.
    """
    requests = list(requests)
    related = [each for each in requests if _counts(each)]
    by_type: dict[str, list[AssessedRequest]] = defaultdict(list)
    for each in related:
        by_type[each.instruction_type].append(each)
    rated = [
        (float(each.rating), each.score)
        for each in related
        if each.rating is not None and each.score is not None
    ]
    types = [_type(name, own, target_seconds) for name, own in by_type.items()]
    types.sort(key=lambda each: (-each.requests, each.name))
    spent = costs(requests, gpu_hour_price)
    return Radar(tuple(types), len(related), agreement(rated), len(rated), spent)


def _counts(request: AssessedRequest) -> bool:
    return request.instruction_type != NO_INSTRUCTION and request.error not in UNRELATED


def _type(name: str, requests: Sequence[AssessedRequest], target_seconds: float) -> Type:
    success = share(sum(each.succeeded for each in requests), len(requests))
    axes = {
        "accuracy": _accuracy(requests, success),
        "speed": _speed(requests, target_seconds),
        "structure": mean([each.structure for each in requests if each.structure is not None]),
        "stability": _stability(requests),
    }
    rating = mean([float(each.rating) for each in requests if each.rating is not None])
    on_axes = {axis: _on_axis(score) for axis, score in axes.items()}
    return Type(name, len(requests), on_axes, success, rating)


def _accuracy(requests: Sequence[AssessedRequest], success: Estimate | None) -> Estimate | None:
    """Return the success ratio, times the mean adherence of the outputs if it is known."""
    values = (each.adherence for each in requests if each.succeeded)
    adherence = mean([value for value in values if value is not None])
    if success is None or adherence is None:
        return success
    return product(success, adherence)


def _speed(requests: Sequence[AssessedRequest], target_seconds: float) -> Estimate | None:
    """Return the mean of target / (target + time): 1 for no time, 0.5 at the target."""
    times = (each.service_seconds for each in requests if each.succeeded)
    return mean([target_seconds / (target_seconds + max(0.0, time)) for time in times])


def _stability(requests: Sequence[AssessedRequest]) -> Estimate | None:
    """Return 1 for equal scores, 0 for a standard deviation of UNSTABLE_DEVIATION."""
    spread = deviation([each.score for each in requests if each.score is not None])
    if spread is None:
        return None
    return Estimate(
        1 - spread.value / UNSTABLE_DEVIATION,
        1 - spread.high / UNSTABLE_DEVIATION,
        1 - spread.low / UNSTABLE_DEVIATION,
        spread.count,
    )


def _on_axis(score: Estimate | None) -> Estimate | None:
    """Return an estimate between 0 and 1 in the unit of the axis."""
    if score is None:
        return None
    ends = {
        name: max(0.0, min(1.0, getattr(score, name))) * _TOP for name in ("value", "low", "high")
    }
    return replace(score, **ends)


def _axes_dict(each: Type) -> dict[str, object]:
    return {axis: asdict(score) if score else None for axis, score in each.axes.items()}
