"""Golden outputs: what a healthy model answers to a fixed input, and how much its answers vary.

A golden is enrolled from several runs of the same input. The largest difference between them is the
noise floor. Later outputs are compared with the golden; beyond the limit, the model is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf, sqrt
from statistics import median

ENROL_RUNS = 10
MARGIN = 0.004  # one of 255 levels: a smaller difference is rounding
FLOOR_FACTOR = 3.0  # runs of a healthy model that come later may vary more than the first ten
_RANDOM_FLOOR = 0.1  # a model that varies as much ignores the seed: its outputs cannot be judged
SLOW_FACTOR, SLOW_DEVIATIONS, SLOW_SECONDS = 1.5, 6.0, 0.05


@dataclass(frozen=True, slots=True)
class Print:
    """One output, in few bytes. `digest` is a hash of all of it.

    Of an image, `pixels` are the levels of a small copy, 0 to 255. Of a recognition, `scores` are
    the labels with their scores, 0 to 1.
    """

    digest: str
    pixels: bytes = b""
    scores: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a golden input: its output, and its seconds on the device."""

    output: Print
    seconds: float


@dataclass(frozen=True, slots=True)
class Golden:
    """What a healthy model answers. `floor` is the noise floor, `spread` that of the seconds.

    `limit` is the largest difference of a good output; infinite if the model ignores the seed.
    """

    output: Print
    floor: float
    seconds: float
    spread: float

    @property
    def limit(self) -> float:
        """Return the largest difference of a good output."""
        return inf if self.floor > _RANDOM_FLOOR else max(MARGIN, FLOOR_FACTOR * self.floor)

    @property
    def slow_seconds(self) -> float:
        """Return the time above which a run is slow; at least 50 ms more than usual."""
        margin = max(SLOW_SECONDS, SLOW_DEVIATIONS * self.spread)
        return max(SLOW_FACTOR * self.seconds, self.seconds + margin)

    def drift(self, output: Print) -> float:
        """Return the difference of an output as a share of the limit: above 1 it is wrong."""
        return difference(self.output, output) / self.limit


def enrol(runs: Sequence[Run]) -> Golden:
    """Return the golden of several runs of one input. The most central output is the reference.

    `spread` is the median absolute deviation of the seconds, times 1.4826, which estimates their
    standard deviation and ignores single outliers (Rousseeuw and Croux 1993).
    """
    if not runs:
        raise ValueError("A golden needs at least one run.")
    outputs = [run.output for run in runs]
    far = [max(difference(one, other) for other in outputs) for one in outputs]
    floor = max((difference(one, other) for one, other in combinations(outputs, 2)), default=0.0)
    seconds = median(run.seconds for run in runs)
    spread = 1.4826 * median(abs(run.seconds - seconds) for run in runs)
    return Golden(outputs[far.index(min(far))], floor, seconds, spread)


def told_apart(goldens: Mapping[str, Golden]) -> dict[str, Golden]:
    """Return the goldens; without a limit if a model gives the same output for two inputs.

    Such a model (a constant one, for example) cannot be judged by its outputs.
    """
    digests = {golden.output.digest for golden in goldens.values()}
    if len(digests) == len(goldens):
        return dict(goldens)
    return {name: replace(golden, floor=1.0) for name, golden in goldens.items()}


def difference(one: Print, other: Print) -> float:
    """Return how much two outputs differ, 0 (equal) to 1.

    Of images: the root mean square difference of the levels. Of recognitions: the largest
    difference of a label's score.
    """
    if one.digest == other.digest:
        return 0.0
    if len(one.pixels) != len(other.pixels) or bool(one.scores) != bool(other.scores):
        return 1.0
    if one.scores:
        return _of_scores(dict(one.scores), dict(other.scores))
    squares = sum((a - b) ** 2 for a, b in zip(one.pixels, other.pixels, strict=True))
    return sqrt(squares / max(1, len(one.pixels))) / 255


def _of_scores(one: dict[str, float], other: dict[str, float]) -> float:
    return max(abs(one.get(label, 0.0) - other.get(label, 0.0)) for label in one | other)
