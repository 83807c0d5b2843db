"""What is measured of a pair: the outputs of two models for the same request. Arithmetic only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Literal

Good = Literal["more", "less", "same"]
Labels = Sequence[tuple[str, float]]

_RATIO_LIMIT = 100.0  # a larger ratio counts as this one, so that a single value cannot hide others


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a pair: the value of B minus that of A, or the distance of their outputs.

    `good` says which values are better: `more`, `less`, or `same` for a distance, where only no
    distance at all is good. `least` is the smallest difference that matters, `margin` the largest
    loss that is accepted for a gain elsewhere. `grain` is the smallest difference that it can show.
    A measure that does not `count` is shown and never decides. `is_ratio`: the value is the
    logarithm of a ratio.
    """

    name: str
    unit: str
    good: Good
    least: float
    margin: float
    grain: float
    counts: bool = True
    is_ratio: bool = False

    @property
    def is_distance(self) -> bool:
        """Return whether it says how far two outputs are from each other."""
        return self.good == "same"


def _ratio(name: str, least: float, margin: float) -> Measure:
    return Measure(name, "times", "less", log(least), log(margin), 0.005, is_ratio=True)


LATENCY = _ratio("latency", 1.01, 1.10)
MEMORY = _ratio("memory", 1.05, 1.25)
VALIDITY = Measure("validity", "points", "more", 0.0, 0.05, 1.0)
STRUCTURE = Measure("structure", "points", "more", 0.01, 0.05, 0.02)
SCORE = Measure("score", "points", "more", 0.01, 0.05, 0.02)
ADHERENCE = Measure("adherence", "points", "more", 0.01, 0.05, 0.02)
IMAGE = Measure("image_difference", "points", "same", 0.01, 0.05, 0.02, counts=False)
LABELS = Measure("label_difference", "points", "same", 0.02, 0.05, 1.0)
CALIBRATION = Measure("calibration", "points", "same", 0.02, 0.05, 0.02)
MEASURES = (LATENCY, MEMORY, VALIDITY, STRUCTURE, SCORE, ADHERENCE, IMAGE, LABELS, CALIBRATION)
BY_NAME = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True)
class Qualities:
    """The quality of one output: ratios from 0 to 1, or None if unknown."""

    score: float | None = None
    structure: float | None = None
    adherence: float | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """The values of one pair by the name of the measure. Unknown values are left out."""

    request_id: str
    instruction_type: str
    values: Mapping[str, float] = field(default_factory=dict)


def plain(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values of a pair with ratios instead of their logarithms."""
    return {name: exp(v) if BY_NAME[name].is_ratio else v for name, v in values.items()}


def log_ratio(second: float | None, first: float | None) -> float | None:
    """Return the logarithm of second / first, within bounds; None if one is unknown."""
    if not first or not second or first < 0 or second < 0:
        return None
    limit = log(_RATIO_LIMIT)
    return min(max(log(second) - log(first), -limit), limit)


def of_qualities(first: Qualities, second: Qualities, distance: float) -> dict[str, float]:
    """Return the measures of two images: how much better the second is, and how far apart."""
    named = (
        (SCORE, first.score, second.score),
        (STRUCTURE, first.structure, second.structure),
        (ADHERENCE, first.adherence, second.adherence),
    )
    values = {m.name: b - a for m, a, b in named if a is not None and b is not None}
    return values | {IMAGE.name: distance}


def of_labels(first: Labels, second: Labels) -> dict[str, float]:
    """Return the measures of two lists of labels, the best first.

    Nobody knows the right label here, so the first list is the reference: whether the best labels
    differ, and how far the second's confidence in the first's best label is from the first's.
    """
    if not first or not second:
        return {}
    label, confidence = first[0]
    other = dict(second).get(label, 0.0)
    return {LABELS.name: float(label != second[0][0]), CALIBRATION.name: abs(confidence - other)}
