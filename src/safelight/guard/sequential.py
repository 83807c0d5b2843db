"""Sequential statistics: an interval for a mean that stays valid however often it is looked at.

The interval is the t-mixture confidence sequence of Lindon, Ham, Tingley and Bojinov,
"Anytime-Valid Linear Models" (2022, arXiv:2210.08589), for one mean with unknown variance. It is
exact for normal values at every n, and holds for other values as n grows.
"""

from dataclasses import dataclass
from math import comb, inf, isfinite, log, sqrt

_TUNED_FOR = 200  # values at which the interval is narrowest


@dataclass(slots=True)
class Moments:
    """The number, mean and spread of values, in constant memory (Welford 1962)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of the squared distances from the mean."""

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no values can give."""
        if self.n < 0 or self.squares < 0 or not isfinite(self.mean + self.squares):
            raise ValueError("These are not the moments of any values")

    def add(self, value: float) -> None:
        """Add a value."""
        self.n += 1
        distance = value - self.mean
        self.mean += distance / self.n
        self.squares += distance * (value - self.mean)

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the values; 0 for fewer than two."""
        return sqrt(self.squares / (self.n - 1)) if self.n > 1 else 0.0


def merged(first: Moments, second: Moments) -> Moments:
    """Return the moments of two sets of values together (Chan, Golub and LeVeque 1979)."""
    n = first.n + second.n
    if not n:
        return Moments()
    distance = second.mean - first.mean
    return Moments(
        n,
        first.mean + distance * second.n / n,
        first.squares + second.squares + distance * distance * first.n * second.n / n,
    )


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a mean lies, with the stated confidence at all times together."""

    low: float = -inf
    high: float = inf

    def above(self, limit: float) -> bool:
        """Return whether the mean is surely above a limit."""
        return self.low > limit

    def below(self, limit: float) -> bool:
        """Return whether the mean is surely below a limit."""
        return self.high < limit


ANYWHERE = Interval()


def interval(values: Moments, alpha: float, *, grain: float = 0.0) -> Interval:
    """Return the interval that misses the mean at any time with a probability of at most `alpha`.

    `grain` is the smallest difference that the values can show. Values that are all equal so far
    do not prove that later ones will be: the spread counts as if log(1 / alpha) / 2 of the values
    had differed by a grain. For shares with a grain of 1, this is the rule of Agresti and Coull.
    """
    half = half_width(values, alpha, grain)
    return Interval(values.mean - half, values.mean + half)


def half_width(values: Moments, alpha: float, grain: float = 0.0) -> float:
    """Return half of the interval's width; infinite while there are too few values."""
    n = values.n
    if n < 2:
        return inf
    spread = values.squares + grain * grain * log(1 / alpha) / 2
    return sqrt(spread / (n - 1) / n) * reach(n, alpha, n - 1)


def difference(first: Moments, second: Moments, alpha: float, *, grain: float = 0.0) -> Interval:
    """Return the interval of the second mean minus the first, for values that are not in pairs.

    Each interval misses its mean with a probability of at most alpha / 2.
    """
    half = half_width(first, alpha / 2, grain) + half_width(second, alpha / 2, grain)
    middle = second.mean - first.mean
    return Interval(middle - half, middle + half)


def reach(n: float, alpha: float, freedom: int) -> float:
    """Return how many standard errors the interval reaches from the mean of `n` values.

    `freedom` is how many values the variance was estimated from, less the means among them.
    """
    weight = _weight(alpha)
    share = weight / (weight + n)
    bound = (alpha * alpha * share) ** (1 / (freedom + 1))
    if bound <= share:
        return inf
    return sqrt(freedom * (1 - bound) / (bound - share))


def _weight(alpha: float) -> float:
    """Return the mixture's precision that makes the interval narrow at `_TUNED_FOR` values."""
    evidence = -2 * log(alpha)
    return _TUNED_FOR / (evidence + log(evidence) + 1)


def more_losses(losses: int, wins: int) -> float:
    """Return the evidence that losses are more likely than wins.

    If both are equally likely, each is the toss of a fair coin, and the evidence ever reaches 1 / a
    with a probability of at most a: exactly, for every number of pairs and at every look. It is the
    likelihood ratio of a coin of unknown bias, mixed evenly over all biases towards losses
    (Robbins 1970, "Statistical methods related to the law of the iterated logarithm").
    """
    tosses = losses + wins
    tail = sum(comb(tosses + 1, number) for number in range(losses + 1))
    return tail / ((tosses + 1) * comb(tosses, losses))
