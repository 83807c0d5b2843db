"""Estimates with their 95 % confidence intervals and the number of observations.

The intervals also hold for five observations, for which they are wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, exp, fsum, sqrt, tanh
from statistics import median

from safelight.diagnosis.confidence import exact_interval, wilson
from safelight.rules.thresholds import LEAST_COUNT

LEAST_PAIRS = 20  # of a correlation
_MANY = 20
_Z = 1.959964  # 97.5 % quantile of the normal distribution: a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its 95 % confidence interval, and its number of observations."""

    value: float
    low: float
    high: float
    count: int


def share(hits: int, count: int, least: int = LEAST_COUNT) -> Estimate | None:
    """Return the share of hits with its interval, or None for too few observations.

    The interval is Wilson's; for few observations it is the exact one, which is wider.
    """
    if count < max(1, least):
        return None
    interval = wilson if count >= _MANY else exact_interval
    ratio, (low, high) = hits / count, interval(hits, count)
    return Estimate(ratio, min(ratio, low), max(ratio, high), count)


def mean(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the mean with Student's interval, or None for too few observations."""
    count = len(values)
    if count < max(LEAST_COUNT, least):
        return None
    average = fsum(values) / count
    variance = fsum((value - average) ** 2 for value in values) / (count - 1)
    half = _student(count - 1) * sqrt(variance / count)
    return Estimate(average, average - half, average + half, count)


def deviation(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the standard deviation, or None for too few observations.

    The interval is Bonett's (2006): it is valid for few values, and for those that are not normal.
    """
    count = len(values)
    if count < max(LEAST_COUNT, least):
        return None
    average = fsum(values) / count
    squares = fsum((value - average) ** 2 for value in values)
    spread = sqrt(squares / (count - 1))
    if not squares:
        return Estimate(0.0, 0.0, 0.0, count)
    centre = _trimmed(values, 1 / (2 * sqrt(count - 4)))
    kurtosis = count * fsum((value - centre) ** 4 for value in values) / squares**2
    enlarged = count / (count - _Z)
    error = enlarged * sqrt(max(0.0, kurtosis - (count - 3) / count) / (count - 1))
    low, high = (sqrt(enlarged * exp(sign * _Z * error)) * spread for sign in (-1, 1))
    return Estimate(spread, min(low, spread), max(high, spread), count)


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's distribution, by its expansion around the normal."""
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + fsum(term / freedom**power for power, term in enumerate(terms, start=1))


def _trimmed(values: Sequence[float], share: float) -> float:
    """Return the mean without this share of the values at either end; with half, the median."""
    ends = int(share * len(values))
    inner = sorted(values)[ends : len(values) - ends]
    return fsum(inner) / len(inner) if inner else median(values)


def product(left: Estimate, right: Estimate) -> Estimate:
    """Return the product of two values between 0 and 1, with a conservative interval."""
    return Estimate(
        left.value * right.value,
        left.low * right.low,
        left.high * right.high,
        min(left.count, right.count),
    )


def agreement(pairs: Sequence[tuple[float, float]], least: int = LEAST_PAIRS) -> Estimate | None:
    """Return Spearman's rank correlation with its interval by Fisher's transformation.

    Returns None for too few pairs, or if all values of one side are equal.
    """
    count = len(pairs)
    if count < max(4, least):
        return None
    left, right = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    middle = (count + 1) / 2
    covariance = fsum((a - middle) * (b - middle) for a, b in zip(left, right, strict=True))
    left_squares, right_squares = (
        fsum((a - middle) ** 2 for a in ranks) for ranks in (left, right)
    )
    if not (left_squares and right_squares):
        return None
    rho = max(-1.0, min(1.0, covariance / sqrt(left_squares * right_squares)))
    if abs(rho) == 1.0:
        return Estimate(rho, rho, rho, count)
    half = _Z * sqrt((1 + rho * rho / 2) / (count - 3))
    return Estimate(rho, tanh(atanh(rho) - half), tanh(atanh(rho) + half), count)


def ranks(values: Sequence[float]) -> list[float]:
    """Return the ranks of the values, counted from 1. Ties get their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + 1 + end) / 2
        start = end
    return ranks
