"""Robust trend of a curve: its slope with an interval, and whether it rises significantly.

The slope is by Theil (1950) and Sen (1968), its significance by Mann (1945) and Kendall (1975).
The variance is corrected for autocorrelation (Bayley and Hammersley 1946).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import copysign, sqrt
from statistics import median

TREND_SIGMAS = 3.5  # about one flat curve in two thousand passes for a rising one
_ENDS = (3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8)  # of a curve; a rise can be recent
_Z_INTERVAL = 1.96
_MIN_BLOCKS = 10
_MAX_BLOCKS = 40
_MAX_AHEAD = 24  # times the length of the line
_FELL = 0.4  # of the curve's range: memory was released
_NEIGHBOURS = 5  # points on each side of a fall, whose medians are compared
_FALL_NOISE = 4  # times the median change between points

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through a curve: slope per second with its 95 % interval, and its last level.

    `noise` is the median distance of the values from the line. `goes_on` is True if the last third
    still rises (a staircase), False on a plateau.
    """

    slope: float
    low: float
    high: float
    level: float
    noise: float
    span_seconds: float
    certain: bool
    goes_on: bool

    @property
    def rise(self) -> float:
        """Return the rise of the line over its length."""
        return self.slope * self.span_seconds

    def seconds_to(self, limit: float) -> tuple[float, float, float] | None:
        """Return the time until the line reaches a limit: expected, earliest and latest.

        Returns None if the rise is not significant, has ended, or is too uncertain.
        """
        if not (self.certain and self.goes_on) or self.low <= 0:
            return None
        remaining = limit - self.level
        expected, soonest, latest = (
            max(0.0, remaining / rate) for rate in (self.slope, self.high, self.low)
        )
        if expected > _MAX_AHEAD * self.span_seconds:
            return None
        return expected, soonest, latest


def latest(points: Sequence[Point]) -> Trend | None:
    """Return the trend of a curve, or of its end if only the end rises significantly.

    A leak that began two hours ago is not a line over four hours.
    """
    whole = trend(points)
    parts = (points[round(len(points) * (1 - part)) :] for part in _ENDS)
    ends = (trend(part) for part in parts if len(part) >= 2 * _MIN_BLOCKS)
    lines = [whole, *ends] if whole is not None and not whole.certain else [whole]
    return next((line for line in lines if line is not None and line.certain), whole)


def trend(points: Sequence[Point]) -> Trend | None:
    """Return the trend of a curve, or None if it has too few points."""
    blocks = _blocks(points)
    if len(blocks) < _MIN_BLOCKS:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(blocks, 2)
    )
    slope = median(slopes)
    start = median(value - slope * at for at, value in blocks)
    residuals = [value - start - slope * at for at, value in blocks]
    deviation = sqrt(_variance(blocks) * _autocorrelation_factor(residuals))
    half_width = _Z_INTERVAL * deviation
    score = sum(copysign(1, s) if s else 0 for s in slopes)
    return Trend(
        slope=slope,
        low=_at(slopes, round((len(slopes) - half_width) / 2) - 1),
        high=_at(slopes, round((len(slopes) + half_width) / 2)),
        level=start + slope * points[-1][0],
        noise=median(abs(value) for value in residuals),
        span_seconds=blocks[-1][0] - blocks[0][0],
        certain=abs(score) > TREND_SIGMAS * deviation,
        goes_on=_goes_on(blocks, slope),
    )


def since_last_fall(points: Sequence[Point]) -> tuple[Sequence[Point], float]:
    """Return the part of a curve since its last sudden fall, and the maximum before the fall.

    The maximum is 0 if it never fell.
    """
    values = [value for _, value in points]
    extent = max(values, default=0.0) - min(values, default=0.0)
    drops = [before - after for before, after in pairwise(values)]
    least = max(_FELL * extent, _FALL_NOISE * median(map(abs, drops))) if drops else 0.0
    falls = [
        place
        for place, drop in enumerate(drops, 1)
        if drop > least and _before(values, place) - _after(values, place) > least
    ]
    if not falls:
        return points, 0.0
    return points[falls[-1] :], max(values[: falls[-1]])


def _before(values: Sequence[float], place: int) -> float:
    return median(values[max(0, place - _NEIGHBOURS) : place])


def _after(values: Sequence[float], place: int) -> float:
    return median(values[place : place + _NEIGHBOURS])


def since(points: Sequence[Point], begin: float) -> Sequence[Point]:
    """Return the points of a curve from a time on."""
    return [point for point in points if point[0] >= begin]


def _blocks(points: Sequence[Point]) -> list[Point]:
    """Return medians of neighbouring points, about `_MAX_BLOCKS` of them, to remove outliers."""
    size = max(1, len(points) // _MAX_BLOCKS)
    chunks = [points[place : place + size] for place in range(0, len(points) - size + 1, size)]
    return [(median(at for at, _ in c), median(value for _, value in c)) for c in chunks]


def _variance(blocks: Sequence[Point]) -> float:
    """Return the variance of the Mann-Kendall score of a curve without a trend, with ties."""
    n = len(blocks)
    values = [value for _, value in blocks]
    ties = [values.count(value) for value in set(values)]
    return max(1.0, (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18)


def _autocorrelation_factor(residuals: Sequence[float]) -> float:
    """Return the factor (1 + r) / (1 - r) on the variance, with r the autocorrelation at lag 1."""
    total = sum(value * value for value in residuals)
    if total <= 0:
        return 1.0
    r = sum(a * b for a, b in pairwise(residuals)) / total
    r = min(0.9, max(0.0, r))
    return (1 + r) / (1 - r)


def _goes_on(blocks: Sequence[Point], slope: float) -> bool:
    """Return True if the last third rises more than a third as fast as the whole."""
    last = blocks[-max(4, len(blocks) // 3) :]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(last, 2)]
    mean = (last[-1][1] - last[0][1]) / (last[-1][0] - last[0][0])
    return max(median(slopes), mean) > slope / 3 if slope > 0 else False


def _at(ordered: Sequence[float], place: int) -> float:
    return ordered[min(len(ordered) - 1, max(0, place))]
