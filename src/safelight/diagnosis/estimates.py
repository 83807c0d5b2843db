"""Estimates with their 95 % confidence intervals and the number of observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, fsum, sqrt, tanh

from safelight.diagnosis.confidence import wilson

LEAST_COUNT = 20  # observations; fewer give no estimate
_Z = 1.959964  # 97.5 % quantile of the normal distribution: a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its 95 % confidence interval, and its number of observations."""

    value: float
    low: float
    high: float
    count: int


def share(hits: int, count: int, least: int = LEAST_COUNT) -> Estimate | None:
    """Return the share of hits with its Wilson interval, or None for too few observations."""
    if count < max(1, least):
        return None
    ratio, (low, high) = hits / count, wilson(hits, count)
    return Estimate(ratio, min(ratio, low), max(ratio, high), count)


def mean(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the mean with its normal interval, or None for too few observations."""
    count = len(values)
    if count < max(2, least):
        return None
    average = fsum(values) / count
    variance = fsum((value - average) ** 2 for value in values) / (count - 1)
    half = _Z * sqrt(variance / count)
    return Estimate(average, average - half, average + half, count)


def deviation(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the standard deviation, or None for too few observations.

    The interval uses the fourth moment, so it is valid for values that are not normal too.
    """
    count = len(values)
    if count < max(4, least):
        return None
    average = fsum(values) / count
    squares = [(value - average) ** 2 for value in values]
    variance = fsum(squares) / (count - 1)
    fourth = fsum(square * square for square in squares) / count
    variance_of_variance = max(0.0, fourth - variance**2 * (count - 3) / (count - 1)) / count
    half = _Z * sqrt(variance_of_variance)
    low, high = max(0.0, variance - half), variance + half
    return Estimate(sqrt(variance), sqrt(low), sqrt(high), count)


def product(left: Estimate, right: Estimate) -> Estimate:
    """Return the product of two values between 0 and 1, with a conservative interval."""
    return Estimate(
        left.value * right.value,
        left.low * right.low,
        left.high * right.high,
        min(left.count, right.count),
    )


def agreement(pairs: Sequence[tuple[float, float]], least: int = LEAST_COUNT) -> Estimate | None:
    """Return Spearman's rank correlation with its interval by Fisher's transformation.

    Returns None for too few pairs, or if all values of one side are equal.
    """
    count = len(pairs)
    if count < max(4, least):
        return None
    left, right = _ranks([a for a, _ in pairs]), _ranks([b for _, b in pairs])
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


def _ranks(values: Sequence[float]) -> list[float]:
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
