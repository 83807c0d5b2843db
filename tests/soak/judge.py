"""Judge the curves of a soak: what must stay level, and how long a leak needs to be seen.

Arithmetic only. The line through a curve and its interval are those of the diagnosis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from safelight.diagnosis.slope import Point, Trend, since, trend

HOUR = 3600.0
SHORTEST_SECONDS = 15 * 60.0  # a line through less says nothing about an hour
# A rise below these is not reported, however certain it is.
LEAST_PER_HOUR = {"memory": 0.5e6, "descriptors": 2.0, "threads": 2.0}
_ALMOST = 0.9  # the first and the last point of a line are medians
_BLOCK = 10  # neighbouring points that are drawn together, so that they stay correlated
_DRAWS = 10
_SEEN = 9  # of the draws, in which a leak must be seen
_LENGTHS_HOURS = (1 / 3, 1 / 2, 1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Verdict:
    """The rise of a curve per hour with its 95 % interval. `rises` is None if it is too short."""

    per_hour: float
    low: float
    high: float
    rises: bool | None


def steady(points: Sequence[Point]) -> Sequence[Point]:
    """Return a curve without its warm-up."""
    begin = points[0][0] + warm_up_seconds(points[-1][0] - points[0][0])
    return since(points, begin)


def warm_up_seconds(seconds: float) -> float:
    """Return how long caches, pools and arenas may fill in a soak: a third, at most 15 minutes."""
    return min(seconds / 3, SHORTEST_SECONDS)


def judge(points: Sequence[Point], least_per_hour: float) -> Verdict | None:
    """Return the verdict on a curve without its warm-up, or None if it has too few points."""
    line = trend(points)
    if line is None:
        return None
    least_seconds = SHORTEST_SECONDS - warm_up_seconds(SHORTEST_SECONDS)
    enough = line.span_seconds > least_seconds * _ALMOST
    rises = _rises(line, least_per_hour) if enough else None
    return Verdict(line.slope * HOUR, line.low * HOUR, line.high * HOUR, rises)


def _rises(line: Trend, least_per_hour: float) -> bool:
    return line.certain and line.goes_on and line.low > 0 and line.slope * HOUR > least_per_hour


def hours_to_see(points: Sequence[Point], leak_per_hour: float, *, seed: int = 0) -> float | None:
    """Return the length of a soak that shows a leak, with the noise of a measured curve.

    None: it stays hidden in the longest one.
    """
    least = leak_per_hour / 2
    for hours in _LENGTHS_HOURS:
        curves = [longer(points, hours, seed=seed + draw) for draw in range(_DRAWS)]
        verdicts = [judge(leaking(curve, leak_per_hour), least) for curve in curves]
        if sum(verdict is not None and verdict.rises is True for verdict in verdicts) >= _SEEN:
            return hours
    return None


def longer(points: Sequence[Point], hours: float, *, seed: int) -> list[Point]:
    """Return a level curve of some hours with the noise of a measured one, drawn in blocks."""
    noise = _noise(points)
    step = (points[-1][0] - points[0][0]) / (len(points) - 1)
    chance, values = Random(seed), list[float]()
    number = round((hours * HOUR - warm_up_seconds(hours * HOUR)) / step) + 1
    while len(values) < number:
        start = chance.randrange(max(1, len(noise) - _BLOCK))
        values += noise[start : start + _BLOCK]
    level = median(value for _, value in points)
    return [(place * step, level + value) for place, value in enumerate(values[:number])]


def leaking(points: Sequence[Point], per_hour: float) -> list[Point]:
    """Return a curve with a leak."""
    return [(at, value + at * per_hour / HOUR) for at, value in points]


def _noise(points: Sequence[Point]) -> list[float]:
    """Return the distances of the points from their line."""
    line = trend(points)
    slope = line.slope if line else 0.0
    rest = [value - slope * at for at, value in points]
    middle = median(rest)
    return [value - middle for value in rest]
