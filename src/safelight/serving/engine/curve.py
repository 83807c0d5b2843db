"""The cost of a batch of n jobs: seconds ≈ a + b·n, learned for each kind of job.

Recursive least squares with exponential forgetting: older observations lose weight, so that the
curve follows a device that becomes slower.
"""

from collections import OrderedDict
from collections.abc import Hashable

from safelight.serving.statistics import conservative_mean

_FORGET = 0.97  # weight of an observation after each later one; about 30 observations count
_MIN_GAIN = 1.05  # in images per second, when the batch size doubles
_KEY_LIMIT = 64
_MIN_SPREAD = 1e-3  # of batch sizes
_MIN_UNITS_SPREAD = 1e-9  # of millions of units
_MILLION = 1e6
_DOUBT_LIMIT = 1.0
_EXPLORE_EVERY = 8  # every eighth batch may grow: what was learned may be wrong by now


class Line:
    """seconds ≈ a + b·x, with a and b of at least 0."""

    __slots__ = ("_min_spread", "_n", "_nn", "_nt", "_share", "_t", "_weight")

    def __init__(self, min_spread: float) -> None:
        self._min_spread = min_spread  # variance of x; with less, a and b cannot be separated
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._share = 0.0  # a / (a + b), when it was last known

    def observe(self, x: float, seconds: float) -> None:
        """Learn from an observation."""
        self._weight = self._weight * _FORGET + 1
        self._n = self._n * _FORGET + x
        self._t = self._t * _FORGET + seconds
        self._nn = self._nn * _FORGET + x * x
        self._nt = self._nt * _FORGET + x * seconds
        if self._spread() >= self._min_spread:
            a, b = self._fitted()
            self._share = a / (a + b) if a + b > 0 else 0.0

    def coefficients(self) -> tuple[float, float]:
        """Return (a, b); 0 before the first observation."""
        if self._weight == 0:
            return 0.0, 0.0
        if self._spread() >= self._min_spread:
            return self._fitted()
        # Only one x was observed: split its cost in the last known ratio.
        one = self._t / self._weight / (self._share + (1 - self._share) * self._n / self._weight)
        return self._share * one, (1 - self._share) * one

    def at(self, x: float) -> float:
        """Return the predicted seconds."""
        a, b = self.coefficients()
        return a + b * x

    def _spread(self) -> float:
        """Return the variance of the observed x."""
        return self._nn / self._weight - (self._n / self._weight) ** 2

    def _fitted(self) -> tuple[float, float]:
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        slope = (self._nt / self._weight - mean_n * mean_t) / self._spread()
        slope = min(max(slope, 0.0), mean_t / mean_n)
        return mean_t - slope * mean_n, slope


class Curve(Line):
    """The cost of the batches of one key: (a, b) are the seconds of a batch, and per image."""

    __slots__ = ("_seen", "doubt", "largest", "limit")

    def __init__(self) -> None:
        super().__init__(_MIN_SPREAD)
        self._seen = 0
        self.doubt = 0.0  # by which share batches sometimes take longer than predicted
        self.largest = 0
        self.limit: int | None = None

    def add(self, n: int, seconds: float) -> None:
        """Learn from a batch of n that took `seconds`."""
        self._update_doubt(seconds / predicted if (predicted := self.seconds(n)) > 0 else 1.0)
        self.observe(n, seconds)
        self.largest = max(self.largest, n)
        self._seen += 1

    def _update_doubt(self, ratio: float) -> None:
        self.doubt = conservative_mean(self.doubt, min(max(ratio - 1, 0.0), _DOUBT_LIMIT))

    def cautious(self) -> tuple[float, float]:
        """Return (a, b) with a margin, so that few batches take longer."""
        a, b = self.coefficients()
        return a * (1 + self.doubt), b * (1 + self.doubt)

    def seconds(self, n: int) -> float:
        """Return the predicted time of a batch of n."""
        return self.at(n)

    def cap(self, limit: int) -> int:
        """Return the largest batch that pays, at most `limit`.

        The size doubles until that gains less than 5 % throughput. It is never more than twice the
        largest size that was tried, so that each increase is measured.
        """
        limit = min(limit, self.limit or limit, 2 * max(1, self.largest))
        a, b = self.coefficients()
        if self.largest <= 1 or b <= 0 or self._seen % _EXPLORE_EVERY == 0:
            return max(1, limit)
        cap = 1
        while cap < limit and 2 * (a + b * cap) / (a + b * 2 * cap) >= _MIN_GAIN:
            cap *= 2
        return max(1, min(limit, cap))

    def speedup(self, n: int) -> float:
        """Return the throughput in batches of n, relative to batches of one."""
        return n * self.seconds(1) / self.seconds(n) if self.seconds(n) > 0 else 1.0

    def lower(self, limit: int) -> None:
        """Never use more than `limit` again: a larger batch did not fit into memory."""
        self.limit = max(1, min(limit, self.limit or limit))


class Curves:
    """The curves of all batch keys; the least recently used are dropped."""

    def __init__(self) -> None:
        self._curves: OrderedDict[Hashable, Curve] = OrderedDict()
        self._by_units = Line(_MIN_UNITS_SPREAD)  # the seconds of one job
        self._slowest = 0.0

    def of(self, key: Hashable) -> Curve:
        """Return the curve of a key; an empty one for an unknown key."""
        return self._curves.get(key) or Curve()

    def knows(self, key: Hashable) -> bool:
        """Return whether a batch of this key was observed."""
        return self.of(key).largest > 0

    def learn(self, key: Hashable, n: int, seconds: float, units: float) -> None:
        """Learn from a batch of n jobs, each of `units` pixel steps."""
        self._curve(key).add(n, seconds)
        self._curves.move_to_end(key)
        self._slowest = max(curve.seconds(1) for curve in self._curves.values() if curve.largest)
        self._by_units.observe(units / _MILLION, seconds / n)

    def lower(self, key: Hashable, limit: int) -> None:
        """Learn that more than `limit` jobs of a key did not fit into memory at once."""
        self._curve(key).lower(limit)

    def _curve(self, key: Hashable) -> Curve:
        if key not in self._curves and len(self._curves) >= _KEY_LIMIT:
            self._curves.popitem(last=False)
        return self._curves.setdefault(key, Curve())

    def max_seconds(self, key: Hashable, units: float) -> float:
        """Return the time of a single job of the slowest key."""
        curve = self._curves.get(key)
        known = curve is not None and curve.largest > 0
        return self._slowest if known else max(self._slowest, self._estimate(units))

    def seconds(self, key: Hashable, n: int, units: float, limit: int) -> float:
        """Return the predicted time of n jobs of a key, in batches as large as pays.

        The cost of an unknown key is estimated from its units; before the first job it is 0.
        """
        if n <= 0:
            return 0.0
        curve = self._curves.get(key)
        if curve is None or curve.largest == 0:
            return n * self._estimate(units)
        a, b = curve.coefficients()
        return -(-n // curve.cap(limit)) * a + n * b

    def _estimate(self, units: float) -> float:
        """Return the time of a job of an unknown key: small jobs have a fixed cost too."""
        return self._by_units.at(units / _MILLION)
