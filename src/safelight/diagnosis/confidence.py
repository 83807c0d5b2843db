"""Confidence of findings, and intervals and tests for shares."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import comb, exp, fsum, lgamma, sqrt

from safelight.units import duration

_Z = 1.959964  # 97.5 % quantile of the normal distribution: a two-sided 95 % interval
_MIN_CONFIDENCE, _MAX_CONFIDENCE = 0.5, 0.95


def confidence_of(value: float, limit: float, certain: float) -> float:
    """Return a confidence: 0.5 at the limit, 0.95 at `certain` or beyond, linear in between."""
    progress = (value - limit) / (certain - limit) if certain != limit else 1.0
    width = _MAX_CONFIDENCE - _MIN_CONFIDENCE
    return _MIN_CONFIDENCE + width * min(1.0, max(0.0, progress))


def wilson(hits: float, tries: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927). It is valid for few tries too."""
    if tries <= 0:
        return 0.0, 1.0
    share, z2 = min(1.0, hits / tries), _Z * _Z
    middle = share + z2 / (2 * tries)
    half_width = _Z * sqrt(share * (1 - share) / tries + z2 / (4 * tries * tries))
    return (
        max(0.0, (middle - half_width) / (1 + z2 / tries)),
        min(1.0, (middle + half_width) / (1 + z2 / tries)),
    )


def exact_interval(hits: int, tries: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper and Pearson 1934), for few tries."""

    def at_most(most: int, share: float) -> float:
        return fsum(comb(tries, n) * share**n * (1 - share) ** (tries - n) for n in range(most + 1))

    low = _root(lambda share: at_most(hits - 1, share), 0.975) if hits else 0.0
    high = _root(lambda share: at_most(hits, share), 0.025) if hits < tries else 1.0
    return low, high


def _root(falling: Callable[[float], float], target: float) -> float:
    """Return where a falling function of a share has this value."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return (low + high) / 2


def least_difference(hits: float, tries: float, other_hits: float, other_tries: float) -> float:
    """Return the lower 95 % bound of the first share minus the second (Newcombe 1998).

    Returns -1 if either has no tries.
    """
    if tries <= 0 or other_tries <= 0:
        return -1.0
    share, other = min(1.0, hits / tries), min(1.0, other_hits / other_tries)
    low, high = wilson(hits, tries)[0], wilson(other_hits, other_tries)[1]
    return share - other - sqrt((share - low) ** 2 + (high - other) ** 2)


def fisher_p_value(hits: float, tries: float, other_hits: float, other_tries: float) -> float:
    """Return the one-sided p-value of Fisher's exact test: the first share is higher.

    Rounds the counts, because callers compute them from rates.
    """
    first_hits, first, other, second = (round(n) for n in (hits, tries, other_hits, other_tries))
    total_hits = first_hits + other
    total = _log_binomial(first + second, total_hits)
    return sum(
        exp(_log_binomial(first, n) + _log_binomial(second, total_hits - n) - total)
        for n in range(max(first_hits, total_hits - second), min(first, total_hits) + 1)
    )


def _log_binomial(n: int, k: int) -> float:
    """Return the logarithm of the binomial coefficient n over k."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def bucket_variance(cumulative: Mapping[float, float]) -> float:
    """Return the variance of non-negative values from cumulative bucket counts, by upper edge.

    Every value counts as the middle of its bucket, with Sheppard's correction (1898).
    """
    total = max(cumulative.values(), default=0.0)
    if total <= 0:
        return 0.0
    edges = sorted({0.0: 0.0, **cumulative}.items())
    parts = [((a + b) / 2, b - a, (n - m) / total) for (a, m), (b, n) in pairwise(edges)]
    mean = sum(middle * part for middle, _, part in parts)
    return max(
        0.0, sum(part * ((middle - mean) ** 2 - width**2 / 12) for middle, width, part in parts)
    )


def until(ends: tuple[float, float, float]) -> str:
    """Return a remaining time with its interval: `3.2 h (95 %: 2.9 h to 3.6 h)`."""
    expected, soonest, latest = (duration(value) for value in ends)
    return f"{expected} (95 %: {soonest} to {latest})"
