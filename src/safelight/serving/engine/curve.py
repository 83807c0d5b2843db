"""What a batch costs: seconds ≈ a + b·n, learned for each kind of request. Arithmetic only.

Least squares over what was observed, where each new observation makes the older ones count a little
less (recursive least squares with exponential forgetting), so that a device that slows down is
noticed.
"""

from collections import OrderedDict
from collections.abc import Hashable

from safelight.serving.statistics import wary

_FORGET = 0.97  # an observation's weight after each later one: about 30 count
_LEAST_GAIN = 1.05  # of images a second, by doubling the batch
_MOST_KEYS = 64
_LEAST_SPREAD = 1e-3  # of the sizes seen: with less, how the cost divides is not known any more
_MOST_DOUBT = 1.0
_LOOK_AGAIN = 8  # each eighth batch grows regardless: what was learned may be wrong by now


class Curve:
    """The cost of one kind of request."""

    __slots__ = (
        "_n",
        "_nn",
        "_nt",
        "_seen",
        "_share",
        "_t",
        "_weight",
        "doubt",
        "largest",
        "limit",
    )

    def __init__(self) -> None:
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._share = 0.0  # of a in a + b, as last known
        self._seen = 0
        self.doubt = 0.0  # how much longer than predicted batches take at times, of the prediction
        self.largest = 0
        self.limit: int | None = None

    def add(self, n: int, seconds: float) -> None:
        """Learn that a batch of n took so long."""
        self._wonder(seconds / predicted if (predicted := self.seconds(n)) > 0 else 1.0)
        self._weight = self._weight * _FORGET + 1
        self._n = self._n * _FORGET + n
        self._t = self._t * _FORGET + seconds
        self._nn = self._nn * _FORGET + n * n
        self._nt = self._nt * _FORGET + n * seconds
        self.largest = max(self.largest, n)
        self._seen += 1
        if self._spread() >= _LEAST_SPREAD:
            a, b = self._fitted()
            self._share = a / (a + b) if a + b > 0 else 0.0

    def _wonder(self, ratio: float) -> None:
        self.doubt = wary(self.doubt, min(max(ratio - 1, 0.0), _MOST_DOUBT))

    def cautious(self) -> tuple[float, float]:
        """Return (a, b) as they are at times: by them, few batches take longer."""
        a, b = self.coefficients()
        return a * (1 + self.doubt), b * (1 + self.doubt)

    def coefficients(self) -> tuple[float, float]:
        """Return (a, b): seconds of any batch, and of each image in it; neither below 0."""
        if self._weight == 0:
            return 0.0, 0.0
        if self._spread() >= _LEAST_SPREAD:
            return self._fitted()
        # One size only: the cost divides as it last did.
        one = self._t / self._weight / (self._share + (1 - self._share) * self._n / self._weight)
        return self._share * one, (1 - self._share) * one

    def _spread(self) -> float:
        """Return the variance of the sizes seen."""
        return self._nn / self._weight - (self._n / self._weight) ** 2

    def _fitted(self) -> tuple[float, float]:
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        slope = (self._nt / self._weight - mean_n * mean_t) / self._spread()
        slope = min(max(slope, 0.0), mean_t / mean_n)
        return mean_t - slope * mean_n, slope

    def seconds(self, n: int) -> float:
        """Return the predicted time of a batch of n."""
        a, b = self.coefficients()
        return a + b * n

    def cap(self, most: int) -> int:
        """Return the largest batch that pays: doubling stops once it gains less than 5 %.

        Never more than twice what was tried, so that growth is watched as it happens.
        """
        most = min(most, self.limit or most, 2 * max(1, self.largest))
        a, b = self.coefficients()
        if self.largest <= 1 or b <= 0 or self._seen % _LOOK_AGAIN == 0:
            return max(1, most)
        cap = 1
        while cap < most and 2 * (a + b * cap) / (a + b * 2 * cap) >= _LEAST_GAIN:
            cap *= 2
        return max(1, min(most, cap))

    def speedup(self, n: int) -> float:
        """Return images a second in batches of n, against one at a time."""
        return n * self.seconds(1) / self.seconds(n) if self.seconds(n) > 0 else 1.0

    def lower(self, limit: int) -> None:
        """Never again make more than `limit` at once: more did not fit into memory."""
        self.limit = max(1, min(limit, self.limit or limit))


class Curves:
    """The curves of all kinds of request; the kinds least used are forgotten."""

    def __init__(self) -> None:
        self._curves: OrderedDict[Hashable, Curve] = OrderedDict()
        self._seconds_per_unit = 0.0
        self._slowest = 0.0

    def of(self, key: Hashable) -> Curve:
        """Return a kind's curve; that of a kind never seen is kept once something is learned."""
        return self._curves.get(key) or Curve()

    def learn(self, key: Hashable, n: int, seconds: float, units: float) -> None:
        """Learn that n jobs of a kind, each of so many units, took so long."""
        self._kept(key).add(n, seconds)
        self._curves.move_to_end(key)
        self._slowest = max(curve.seconds(1) for curve in self._curves.values() if curve.largest)
        rate = seconds / (n * units)
        last = self._seconds_per_unit
        self._seconds_per_unit = rate if last == 0 else last + 0.2 * (rate - last)

    def lower(self, key: Hashable, limit: int) -> None:
        """Learn that more than `limit` jobs of a kind did not fit into memory at once."""
        self._kept(key).lower(limit)

    def _kept(self, key: Hashable) -> Curve:
        if key not in self._curves and len(self._curves) >= _MOST_KEYS:
            self._curves.popitem(last=False)
        return self._curves.setdefault(key, Curve())

    def at_most(self, key: Hashable, units: float) -> float:
        """Return the time of the slowest kind of request, made alone."""
        curve = self._curves.get(key)
        known = curve is not None and curve.largest > 0
        return self._slowest if known else max(self._slowest, units * self._seconds_per_unit)

    def seconds(self, key: Hashable, n: int, units: float, most: int) -> float:
        """Return the predicted time of n jobs of a kind, in batches as large as pays.

        A kind never seen costs what its units cost elsewhere; before the first job, nothing.
        """
        if n <= 0:
            return 0.0
        curve = self._curves.get(key)
        if curve is None or curve.largest == 0:
            return n * units * self._seconds_per_unit
        a, b = curve.coefficients()
        return -(-n // curve.cap(most)) * a + n * b
