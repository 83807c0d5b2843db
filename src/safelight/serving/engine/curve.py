"""The cost of a batch of n jobs, learned for each kind of job.

A line (seconds ≈ a + b·n), and for each size by how much batches surely deviate from it: a model
may make fewer images per second in batches of 32 than of 8. Least squares with exponential
forgetting: older observations lose weight, so that the curve follows a device that becomes slower.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable

from safelight.serving.statistics import Rate, conservative_mean

_FORGET = 0.97  # weight of an observation after each later one; about 30 observations count
_MIN_GAIN = 1.05  # in images per second, when the batch size doubles
_KEY_LIMIT = 64
_MIN_SPREAD = 1e-3  # of batch sizes
_MIN_UNITS_SPREAD = 1e-9  # of millions of units
_SPREAD = 0.1  # of the times of a size, as a share, beside what was seen
_MIN_WEIGHT = 0.5  # observations of a size that are not forgotten
_MILLION = 1e6
_KNOWN_LIMIT = 128
_DOUBT_LIMIT = 1.0
_EXPLORE_EVERY = 8  # every eighth batch may grow: what was learned may be wrong by now
_RETRY_AFTER = 32  # batches until twice the size that fitted is tried again
_RETRY_AFTER_LIMIT = 4096  # doubled up to this after each try that did not fit either


class Line:
    """seconds ≈ a + b·x, with a and b of at least 0."""

    __slots__ = ("_known", "_min_spread", "_n", "_nn", "_nt", "_share", "_t", "_weight")

    def __init__(self, min_spread: float) -> None:
        self._min_spread = min_spread  # variance of x; with less, a and b cannot be separated
        self._weight = self._n = self._t = self._nn = self._nt = 0.0
        self._share = 0.0  # a / (a + b), when it was last known
        self._known = 0.0, 0.0  # a and b

    def observe(self, x: float, seconds: float) -> None:
        """Learn from an observation."""
        self._weight = self._weight * _FORGET + 1
        self._n = self._n * _FORGET + x
        self._t = self._t * _FORGET + seconds
        self._nn = self._nn * _FORGET + x * x
        self._nt = self._nt * _FORGET + x * seconds
        self._known = self._fitted()

    def coefficients(self) -> tuple[float, float]:
        """Return (a, b); 0 before the first observation."""
        return self._known

    def at(self, x: float) -> float:
        """Return the predicted seconds."""
        a, b = self._known
        return a + b * x

    def _fitted(self) -> tuple[float, float]:
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        spread = self._nn / self._weight - mean_n**2
        if spread >= self._min_spread:
            slope = (self._nt / self._weight - mean_n * mean_t) / spread
            slope = min(max(slope, 0.0), mean_t / mean_n)
            a, b = mean_t - slope * mean_n, slope
            self._share = a / (a + b) if a + b > 0 else 0.0
            return a, b
        # Only one x was observed: split its cost in the last known ratio.
        one = mean_t / (self._share + (1 - self._share) * mean_n)
        return self._share * one, (1 - self._share) * one


class Deviations:
    """By which ratio the batches of each size differ from the line.

    A deviation counts as far as it is no chance: by the share 1 - (2·standard error / deviation)²,
    at least 0 (as in James and Stein, 1961). The error includes a spread of a tenth, for sizes that
    were seen a few times.
    """

    __slots__ = ("_ratios", "_seen", "_sizes")

    def __init__(self) -> None:
        self._seen = 0
        # For each size: its weight, its mean seconds, their mean square, and when it was last seen.
        self._sizes: dict[int, tuple[float, float, float, int]] = {}
        self._ratios: list[tuple[int, float]] = []

    def observe(self, n: int, seconds: float, line: Line) -> None:
        """Learn from a batch of n, and compare all sizes with the line."""
        self._seen += 1
        weight, mean, square, at = self._sizes.get(n, (0.0, 0.0, 0.0, 0))
        weight = 1 + weight * _FORGET ** (self._seen - at)
        mean += (seconds - mean) / weight
        square += (seconds**2 - square) / weight
        self._sizes[n] = weight, mean, square, self._seen
        ratios = []
        for size, (weight, mean, square, at) in sorted(self._sizes.items()):
            left = weight * _FORGET ** (self._seen - at)  # observations that are not forgotten
            if left < _MIN_WEIGHT:
                del self._sizes[size]
            else:
                ratios.append((size, _ratio(left, mean, square, line.at(size))))
        self._ratios = ratios if any(ratio != 1 for _, ratio in ratios) else []

    def at(self, n: float) -> float:
        """Return the ratio for a size, interpolated between those that were seen."""
        if not self._ratios:
            return 1.0
        place = bisect_left(self._ratios, (n, 0.0))
        if place == len(self._ratios) or place == 0:
            return self._ratios[max(0, place - 1)][1]
        (below, low), (above, high) = self._ratios[place - 1 : place + 1]
        return low + (high - low) * (n - below) / (above - below)


def _ratio(weight: float, mean: float, square: float, expected: float) -> float:
    if expected <= 0:
        return 1.0
    deviation = mean / expected - 1
    variance = max(0.0, square - mean**2) / expected**2 + _SPREAD**2
    sure = 1 - 4 * variance / weight / max(deviation**2, 1e-12)
    return 1 + max(0.0, sure) * deviation


class Curve:
    """The cost of the batches of one key: a line, and where the batches deviate from it."""

    __slots__ = (
        "_cap",
        "_deviations",
        "_known",
        "_line",
        "_pause",
        "_retry_at",
        "_seen",
        "arrivals",
        "doubt",
        "largest",
        "limit",
    )

    def __init__(self) -> None:
        self._line = Line(_MIN_SPREAD)
        self._deviations = Deviations()
        self._known: dict[float, float] = {}  # answers of `seconds` since the last batch
        self._cap = 0, -1  # the last answer of `cap`, and its limit
        self._seen = 0
        self.doubt = 0.0  # by which share batches sometimes take longer than predicted
        self.largest = 0
        self.arrivals = Rate()
        self.limit: int | None = None  # the largest batch that surely fits into memory
        self._pause = self._retry_at = _RETRY_AFTER  # in batches

    def add(self, n: int, seconds: float) -> None:
        """Learn from a batch of n that took `seconds`."""
        self._update_doubt(seconds / predicted if (predicted := self.seconds(n)) > 0 else 1.0)
        self._line.observe(n, seconds)
        self._deviations.observe(n, seconds, self._line)
        self._known.clear()
        self.largest = max(self.largest, n)
        self._seen += 1
        self._cap = 0, -1
        if self.limit is not None and n > self.limit:  # it fits again
            self.limit, self._pause = n, _RETRY_AFTER
            self._retry_at = self._seen + self._pause

    def _update_doubt(self, ratio: float) -> None:
        self.doubt = conservative_mean(self.doubt, min(max(ratio - 1, 0.0), _DOUBT_LIMIT))

    def coefficients(self) -> tuple[float, float]:
        """Return (a, b) of the line: the seconds of a batch, and per image."""
        return self._line.coefficients()

    def seconds(self, n: float) -> float:
        """Return the predicted time of a batch of n."""
        seconds = self._known.get(n)
        if seconds is None:
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            seconds = self._known[n] = self._line.at(n) * self._deviations.at(n)
        return seconds

    def chord(self, cap: int) -> tuple[float, float]:
        """Return (a, b) so that a + b·n is right for batches of one and of `cap`."""
        one, all_seconds = self.seconds(1), self.seconds(cap)
        if cap == 1:
            a, b = self.coefficients()
            return (a * one / (a + b), b * one / (a + b)) if a + b > 0 else (0.0, 0.0)
        b = min(max(all_seconds - one, 0.0) / (cap - 1), all_seconds / cap)
        return all_seconds - b * cap, b

    def cap(self, limit: int) -> int:
        """Return the largest batch that pays, at most `limit`.

        The size doubles until that gains less than 5 % throughput. It is never more than twice the
        largest size that was tried, so that each increase is measured.
        """
        limit = min(limit, self._fitting(limit), 2 * max(1, self.largest))
        if self._cap[1] != limit:
            self._cap = self._largest_that_pays(limit), limit
        return self._cap[0]

    def _largest_that_pays(self, limit: int) -> int:
        if self.largest <= 1 or self.coefficients()[1] <= 0:
            return max(1, limit)
        cap, seconds = 1, self.seconds(1)
        while cap < limit and 2 * seconds >= _MIN_GAIN * (twice := self.seconds(2 * cap)):
            cap, seconds = 2 * cap, twice
        if self._seen % _EXPLORE_EVERY == 0:
            cap *= 2
        return max(1, min(limit, cap))

    def speedup(self, n: int) -> float:
        """Return the throughput in batches of n, relative to batches of one."""
        return n * self.seconds(1) / self.seconds(n) if self.seconds(n) > 0 else 1.0

    def _fitting(self, limit: int) -> int:
        """Return how many jobs may fit into memory: now and then, twice as many as surely do."""
        if self.limit is None:
            return limit
        return 2 * self.limit if self._seen >= self._retry_at else self.limit

    def lower(self, limit: int) -> None:
        """Use at most `limit` for a while: a larger batch did not fit into memory.

        Twice as many are tried after 32 batches. Each try that fails doubles that number.
        """
        limit = max(1, limit)
        if self.limit is not None and limit >= self.limit and self._seen >= self._retry_at:
            self._pause = min(2 * self._pause, _RETRY_AFTER_LIMIT)
        self.limit = min(limit, self.limit or limit)
        self._retry_at = self._seen + self._pause
        self._cap = 0, -1


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

    def max_seconds(self, key: Hashable, units: Callable[[], float]) -> float:
        """Return the time of a single job of the slowest key, or of so many units."""
        curve = self._curves.get(key)
        known = curve is not None and curve.largest > 0
        return self._slowest if known else max(self._slowest, self._estimate(units()))

    def seconds(self, key: Hashable, n: int, units: float, limit: int) -> float:
        """Return the predicted time of n jobs of a key, in batches as large as pays.

        The cost of an unknown key is estimated from its units; before the first job it is 0.
        """
        if n <= 0:
            return 0.0
        curve = self._curves.get(key)
        if curve is None or curve.largest == 0:
            return n * self._estimate(units)
        full, rest = divmod(n, cap := curve.cap(limit))
        return full * curve.seconds(cap) + (curve.seconds(rest) if rest else 0.0)

    def _estimate(self, units: float) -> float:
        """Return the time of a job of an unknown key: small jobs have a fixed cost too."""
        return self._by_units.at(units / _MILLION)
