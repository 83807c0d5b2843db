"""How much figures weigh: confidence from a distance, an interval from a count, words."""

from collections.abc import Mapping
from itertools import pairwise
from math import exp, lgamma, sqrt

_Z = 1.959964  # of a normal distribution, for 95 %
_LEAST, _MOST = 0.5, 0.95


def surely(value: float, limit: float, sure: float) -> float:
    """Return a confidence: 0.5 where a value is at its limit, 0.95 where it has come to `sure`."""
    way = (value - limit) / (sure - limit) if sure != limit else 1.0
    return _LEAST + (_MOST - _LEAST) * min(1.0, max(0.0, way))


def wilson(hits: float, tries: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which holds for few tries too."""
    if tries <= 0:
        return 0.0, 1.0
    share, z2 = min(1.0, hits / tries), _Z * _Z
    middle = share + z2 / (2 * tries)
    reach = _Z * sqrt(share * (1 - share) / tries + z2 / (4 * tries * tries))
    return (
        max(0.0, (middle - reach) / (1 + z2 / tries)),
        min(1.0, (middle + reach) / (1 + z2 / tries)),
    )


def apart(hits: float, tries: float, other_hits: float, other_tries: float) -> float:
    """Return by how much a share lies above another at least, at 95 % (Newcombe 1998)."""
    if tries <= 0 or other_tries <= 0:
        return -1.0
    share, other = min(1.0, hits / tries), min(1.0, other_hits / other_tries)
    low, high = wilson(hits, tries)[0], wilson(other_hits, other_tries)[1]
    return share - other - sqrt((share - low) ** 2 + (high - other) ** 2)


def by_chance(hits: float, tries: float, other_hits: float, other_tries: float) -> float:
    """Return how likely so many of all hits fall to the first, were both alike (Fisher 1935).

    That is: so many or more. Counts are rounded, for rates stand for them.
    """
    mine, first, others, second = (round(n) for n in (hits, tries, other_hits, other_tries))
    both = mine + others
    ways = _ways(first + second, both)
    return sum(
        exp(_ways(first, n) + _ways(second, both - n) - ways)
        for n in range(max(mine, both - second), min(first, both) + 1)
    )


def _ways(many: int, taken: int) -> float:
    """Return the logarithm of how many ways there are to take so many of many."""
    return lgamma(many + 1) - lgamma(taken + 1) - lgamma(many - taken + 1)


def variance(below: Mapping[float, float]) -> float:
    """Return the variance of what lies between 0 and the last edge, from how many lie below each.

    Each stands for the middle of its bucket; what that adds is taken off again (Sheppard 1898).
    """
    whole = max(below.values(), default=0.0)
    if whole <= 0:
        return 0.0
    edges = sorted({0.0: 0.0, **below}.items())
    parts = [((a + b) / 2, b - a, (n - m) / whole) for (a, m), (b, n) in pairwise(edges)]
    mean = sum(middle * part for middle, _, part in parts)
    return max(
        0.0, sum(part * ((middle - mean) ** 2 - width**2 / 12) for middle, width, part in parts)
    )


def seconds(value: float) -> str:
    """Return a time as people read it: `38 ms`, `1.24 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for limit, size, unit in (
        (1, 1e-3, "ms"),
        (120, 1, "s"),
        (7200, 60, "min"),
        (172_800, 3600, "h"),
    ):
        if abs(value) < limit:
            return f"{value / size:.3g} {unit}"
    return f"{value / 86_400:.3g} days"


def until(ends: tuple[float, float, float]) -> str:
    """Return a time to come with its interval: `3.2 h (95 %: 2.9 h to 3.6 h)`."""
    expected, soonest, latest = (seconds(value) for value in ends)
    return f"{expected} (95 %: {soonest} to {latest})"


def amount(value: float) -> str:
    """Return bytes as people read them: `215 MB`, `11.8 GB`."""
    for limit, size, unit in ((1e6, 1e3, "kB"), (1e9, 1e6, "MB"), (1e12, 1e9, "GB")):
        if abs(value) < limit:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e12:.3g} TB"


def counted(number: float, noun: str) -> str:
    """Return a number with its noun: `1 request`, `12 requests`."""
    return f"{number:.0f} {noun}{'' if round(number) == 1 else 's'}"


def share(value: float) -> str:
    """Return a share as people read it: 0.714 as `71 %`, 0.004 as `0.4 %`."""
    return f"{100 * value:.0f} %" if abs(value) >= 0.1 or value == 0 else f"{100 * value:.1f} %"
