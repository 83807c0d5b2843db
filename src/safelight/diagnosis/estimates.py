"""Figures with what they rest on: a count, and an interval that holds the truth 95 times in 100."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, fsum, sqrt, tanh

from safelight.diagnosis.confidence import wilson

LEAST_COUNT = 20  # no figure rests on fewer
_Z = 1.959964  # of the normal distribution: 95 % lie within


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, the interval of 95 % around it, and how many observations it rests on."""

    value: float
    low: float
    high: float
    count: int

    def scaled(self, factor: float) -> "Estimate":
        """Return it in another unit."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor, self.count)


def share(hits: int, count: int, least: int = LEAST_COUNT) -> Estimate | None:
    """Return the share of hits with Wilson's interval, or None of too few."""
    if count < max(1, least):
        return None
    p, (low, high) = hits / count, wilson(hits, count)
    return Estimate(p, min(p, low), max(p, high), count)


def mean(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the mean with the normal interval of its standard error, or None of too few."""
    count = len(values)
    if count < max(2, least):
        return None
    middle = fsum(values) / count
    variance = fsum((value - middle) ** 2 for value in values) / (count - 1)
    half = _Z * sqrt(variance / count)
    return Estimate(middle, middle - half, middle + half, count)


def deviation(values: Sequence[float], least: int = LEAST_COUNT) -> Estimate | None:
    """Return the standard deviation, or None of too few.

    Its interval is by the fourth moment, so that it holds for other than normal values too.
    """
    count = len(values)
    if count < max(4, least):
        return None
    middle = fsum(values) / count
    squares = [(value - middle) ** 2 for value in values]
    variance = fsum(squares) / (count - 1)
    fourth = fsum(square * square for square in squares) / count
    of_variance = max(0.0, fourth - variance**2 * (count - 3) / (count - 1)) / count
    half = _Z * sqrt(of_variance)
    low, high = max(0.0, variance - half), variance + half
    return Estimate(sqrt(variance), sqrt(low), sqrt(high), count)


def product(left: Estimate, right: Estimate) -> Estimate:
    """Return the product of two figures between 0 and 1; its interval is a wide one."""
    return Estimate(
        left.value * right.value,
        left.low * right.low,
        left.high * right.high,
        min(left.count, right.count),
    )


def agreement(pairs: Sequence[tuple[float, float]], least: int = LEAST_COUNT) -> Estimate | None:
    """Return Spearman's correlation with Fisher's interval, or None of too few or all alike."""
    count = len(pairs)
    if count < max(4, least):
        return None
    left, right = _ranks([a for a, _ in pairs]), _ranks([b for _, b in pairs])
    middle = (count + 1) / 2
    together = fsum((a - middle) * (b - middle) for a, b in zip(left, right, strict=True))
    of_left, of_right = (fsum((a - middle) ** 2 for a in ranks) for ranks in (left, right))
    if not (of_left and of_right):
        return None
    rho = max(-1.0, min(1.0, together / sqrt(of_left * of_right)))
    if abs(rho) == 1.0:
        return Estimate(rho, rho, rho, count)
    half = _Z * sqrt((1 + rho * rho / 2) / (count - 3))
    return Estimate(rho, tanh(atanh(rho) - half), tanh(atanh(rho) + half), count)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return each value's place among all, counted from 1; equal ones share the mean place."""
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
