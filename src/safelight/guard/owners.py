"""Owners in a bounded number of clusters, and what their own records say. Arithmetic only.

Requests of one owner are alike, so they are not so many independent proofs. Two answers exist: to
compare an owner with its own record, or to widen an interval by the design effect (Kish 1965).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from safelight.guard.sequential import ANYWHERE, Interval, Moments, half_width, merged, reach

SLOTS = 10_000  # a hundredth of a percent of the owners each
CLUSTERS = 500  # each gets B at once, because a percent is five of them; more owners share records
Table = dict[int, Moments]
"""Values of one measure, by cluster."""

_LEAST_RECORD = 5  # values of an owner that are a record of it
_LEAST_CLUSTERS = 8  # of each model, to compare owners with other owners


def slot_of(text: str) -> int:
    """Return the place of an owner among all, 0 to 9999: always the same."""
    digest = sha256(text.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8]) % SLOTS


def cluster_of(owner: str) -> int | None:
    """Return an owner's cluster; None for requests without an owner, which are independent."""
    return slot_of(owner) * CLUSTERS // SLOTS if owner else None


def together(tables: Iterable[Table], clusters: Iterable[int]) -> Table:
    """Return what tables know of some clusters, as one table."""
    known = tuple(tables)
    found = {}
    for cluster in clusters:
        values = Moments()
        for table in known:
            values = merged(values, table.get(cluster, Moments()))
        found[cluster] = values
    return found


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one model: all together, and by cluster those that have an owner."""

    values: Moments
    owners: Mapping[int, Moments]

    @property
    def clusters(self) -> int:
        """Return how many independent sources there are: owners, and requests without one."""
        return len(self.owners) + self._loose

    @property
    def _loose(self) -> int:
        return max(0, self.values.n - sum(each.n for each in self.owners.values()))

    @property
    def size(self) -> float:
        """Return how many values a value's owner has, on average over the values."""
        squares = sum(each.n * each.n for each in self.owners.values()) + self._loose
        return squares / self.values.n if self.values.n else 1.0

    def spread(self) -> tuple[float, float, int, float]:
        """Return an analysis of variance of the owners.

        The sums of squares between and inside owners, the number of owners but one, and how many
        values an owner has.
        """
        n, groups = sum(each.n for each in self.owners.values()), len(self.owners)
        inside = sum(each.squares for each in self.owners.values())
        whole = sum((each.n * each.mean for each in self.owners.values()), 0.0) / max(n, 1)
        outside = sum(each.n * (each.mean - whole) ** 2 for each in self.owners.values())
        size = n - sum(each.n**2 for each in self.owners.values()) / max(n, 1)
        return outside, inside, max(0, groups - 1), size


def likeness(first: Sample, second: Sample) -> float:
    """Return how alike the values of one owner are: 0 (not at all) to 1 (equal).

    It is the intraclass correlation, from an analysis of variance of both models' owners.
    """
    parts = [sample.spread() for sample in (first, second)]
    outside, inside, groups, size = (sum(each) for each in zip(*parts, strict=True))
    n = sum(each.n for sample in (first, second) for each in sample.owners.values())
    freedom = n - sum(len(sample.owners) for sample in (first, second))
    if not groups or freedom < 1 or not size:
        return 0.0
    noise = inside / freedom
    spread = max(0.0, (outside - groups * noise) / size)
    return spread / (spread + noise) if spread else 0.0


def between(first: Sample, second: Sample, alpha: float, *, grain: float) -> Interval:
    """Return the interval of the second mean minus the first, for models with different owners.

    Each side is wider by its design effect. Too few owners prove nothing: one hard one is enough.
    """
    if min(first.clusters, second.clusters) < _LEAST_CLUSTERS:
        return ANYWHERE
    alike = likeness(first, second)
    half = sum(
        half_width(each.values, alpha / 2, grain) * (1 + (each.size - 1) * alike) ** 0.5
        for each in (first, second)
    )
    middle = second.values.mean - first.values.mean
    return Interval(middle - half, middle + half)


def within(records: Mapping[int, Moments], second: Mapping[int, Moments]) -> "Difference | None":
    """Return how far values are from their owners' records; None without any record."""
    known = [
        (records[each], values)
        for each, values in second.items()
        if each in records and records[each].n >= _LEAST_RECORD
    ]
    n = sum(new.n for _, new in known)
    freedom = sum(old.n + new.n - 2 for old, new in known)
    if freedom < 1:
        return None
    mean = sum(new.n * (new.mean - old.mean) for old, new in known) / n
    information = 1 / (1 / n + sum(new.n**2 / old.n for old, new in known) / n**2)
    squares = sum(old.squares + new.squares for old, new in known)
    return Difference(mean, squares, freedom, information, n)


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference of owners from their records, whose variance is that of one value / n."""

    mean: float
    squares: float
    freedom: int
    n: float
    values: int

    def interval(self, alpha: float, *, grain: float) -> Interval:
        """Return the interval that misses the difference with a probability of at most `alpha`."""
        spread = self.squares + grain * grain
        half = (spread / self.freedom / self.n) ** 0.5 * reach(self.n, alpha, self.freedom)
        return Interval(self.mean - half, self.mean + half)
