"""Whether a curve rises, and how fast: a line that outliers do not bend, with its interval.

Theil (1950) and Sen (1968) for the line, Mann (1945) and Kendall (1975) for whether there is one;
the variance is widened for noise that remembers (Bayley and Hammersley 1946).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import copysign, sqrt
from statistics import median

_Z_CERTAIN = 3.5  # one flat curve in two thousand would pass for a rising one
_ENDS = (3 / 4, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8)  # parts of a curve that may rise alone
_Z_INTERVAL = 1.96
_FEWEST_BLOCKS = 10
_BLOCKS = 40
_FARTHEST = 24  # spans of its own ahead; further a line says nothing
_FELL = 0.4  # of all that a curve moves over, at once and to stay: something was given back
_STAYS = 5  # points on either side of a fall: their medians tell it from noise
_CLEARLY = 4  # times the usual move from point to point: no noise falls so far

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through a curve: growth per second with its 95 % interval, and where it ends.

    `noise` is how far values typically lie off the line. `goes_on` tells that the later half rises
    as the earlier did: a staircase, not a plateau.
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
        """Return by how much the line rises over the curve's span."""
        return self.slope * self.span_seconds

    def seconds_to(self, limit: float) -> tuple[float, float, float] | None:
        """Return the time until the line reaches a limit: expected, soonest and latest.

        None where nothing can be said: no certain rise, one that has ended, or too vague a one.
        """
        if not (self.certain and self.goes_on) or self.low <= 0:
            return None
        left = limit - self.level
        expected, soonest, latest = (
            max(0.0, left / rate) for rate in (self.slope, self.high, self.low)
        )
        if expected > _FARTHEST * self.span_seconds:
            return None
        return expected, soonest, latest


def latest(points: Sequence[Point]) -> Trend | None:
    """Return the line through a curve, or through its end where only that rises for certain.

    A leak that began two hours ago is no line through four hours.
    """
    whole = trend(points)
    parts = (points[round(len(points) * (1 - part)) :] for part in _ENDS)
    ends = (trend(part) for part in parts if len(part) >= 2 * _FEWEST_BLOCKS)
    tried = [whole, *ends] if whole is not None and not whole.certain else [whole]
    return next((found for found in tried if found is not None and found.certain), whole)


def trend(points: Sequence[Point]) -> Trend | None:
    """Return the line through a curve, or None where there is too little to tell."""
    blocks = _blocks(points)
    if len(blocks) < _FEWEST_BLOCKS:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(blocks, 2)
    )
    slope = median(slopes)
    start = median(value - slope * at for at, value in blocks)
    rest = [value - start - slope * at for at, value in blocks]
    spread = sqrt(_variance(blocks) * _memory(rest))
    reach = _Z_INTERVAL * spread
    order = sum(copysign(1, s) if s else 0 for s in slopes)
    return Trend(
        slope=slope,
        low=_at(slopes, (len(slopes) - reach) / 2),
        high=_at(slopes, (len(slopes) + reach) / 2),
        level=start + slope * points[-1][0],
        noise=median(abs(value) for value in rest),
        span_seconds=blocks[-1][0] - blocks[0][0],
        certain=abs(order) > _Z_CERTAIN * spread,
        goes_on=_goes_on(blocks, slope),
    )


def since_last_fall(points: Sequence[Point]) -> tuple[Sequence[Point], float]:
    """Return a curve's end, from the last time that it fell at once, and how high it was before.

    That height is 0 where it never fell.
    """
    values = [value for _, value in points]
    reach = max(values, default=0.0) - min(values, default=0.0)
    moves = [before - after for before, after in pairwise(values)]
    least = max(_FELL * reach, _CLEARLY * median(map(abs, moves))) if moves else 0.0
    falls = [
        place
        for place, move in enumerate(moves, 1)
        if move > least and _before(values, place) - _after(values, place) > least
    ]
    if not falls:
        return points, 0.0
    return points[falls[-1] :], max(values[: falls[-1]])


def _before(values: Sequence[float], place: int) -> float:
    return median(values[max(0, place - _STAYS) : place])


def _after(values: Sequence[float], place: int) -> float:
    return median(values[place : place + _STAYS])


def since(points: Sequence[Point], begin: float) -> Sequence[Point]:
    """Return the part of a curve from a time on."""
    return [point for point in points if point[0] >= begin]


def _blocks(points: Sequence[Point]) -> list[Point]:
    """Return medians of neighbours: at most `_BLOCKS`, and outliers gone."""
    size = max(1, len(points) // _BLOCKS)
    chunks = [points[place : place + size] for place in range(0, len(points) - size + 1, size)]
    return [(median(at for at, _ in c), median(value for _, value in c)) for c in chunks]


def _variance(blocks: Sequence[Point]) -> float:
    """Return the variance of Kendall's sum of signs for a curve without a trend, with its ties."""
    n = len(blocks)
    values = [value for _, value in blocks]
    ties = [values.count(value) for value in set(values)]
    return max(1.0, (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18)


def _memory(rest: Sequence[float]) -> float:
    """Return by how much noise that remembers widens a variance: (1 + r) / (1 - r), at lag 1."""
    total = sum(value * value for value in rest)
    if total <= 0:
        return 1.0
    r = sum(a * b for a, b in pairwise(rest)) / total
    r = min(0.9, max(0.0, r))
    return (1 + r) / (1 - r)


def _goes_on(blocks: Sequence[Point], slope: float) -> bool:
    """Tell whether the last third rises at least a third as fast as the whole."""
    last = blocks[-max(4, len(blocks) // 3) :]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(last, 2)]
    mean = (last[-1][1] - last[0][1]) / (last[-1][0] - last[0][0])
    return max(median(slopes), mean) > slope / 3 if slope > 0 else False


def _at(ordered: Sequence[float], place: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, round(place)))]


def joined(curves: Iterable[Sequence[Point]]) -> list[Point]:
    """Return the sum of curves that were asked at the same times; where one is missing, none."""
    sums: dict[float, list[float]] = {}
    every = list(curves)
    for points in every:
        for at, value in points:
            sums.setdefault(at, []).append(value)
    return [(at, sum(values)) for at, values in sorted(sums.items()) if len(values) == len(every)]
