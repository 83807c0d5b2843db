"""Series of a metric: they count into a row of numbers, which other processes can read.

A row holds, in this order: when the series was set (0 while it is unused), its value or sum, the
counts of its buckets, and one exemplar for each bucket. It is a list, or a part of a shared file.
A recent maximum has its minute and the maximum of the minute before in place of the counts.
"""

import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from math import inf
from typing import NamedTuple, Protocol

from safelight.metrics.metric import OTHER, Across, Kind, Metric

Labels = tuple[str, ...]
Row = tuple[Metric, Labels, list[float]]

_ID = re.compile(r"[0-9a-f]{32}")
USED, VALUE, COUNTS = 0, 1, 2
_MINUTE, _BEFORE = 2, 3  # of a recent maximum; VALUE is the maximum of this minute
MINUTE_SECONDS = 60
# Its time is written first and last: a process that reads it meanwhile finds two times.
_EXEMPLAR = 9  # time, three parts of the trace id and of the request id, value, time
_MANY = 8  # observations: a Counter takes less time than a loop
_PART = 48  # bits of an id that a number holds exactly


class Cells(Protocol):
    """A row: a list, or a part of a file in memory."""

    def __len__(self) -> int:
        """Return how many numbers it has."""

    def __iter__(self) -> Iterator[float]:
        """Yield the numbers."""

    def __getitem__(self, place: int, /) -> float:
        """Return one number."""

    def __setitem__(self, place: int, value: float, /) -> None:
        """Change one number."""


class Exemplar:
    """What an exemplar leads to: a trace, a request, or both. Ids have 32 hexadecimal digits."""

    __slots__ = ("numbers",)

    def __init__(self, trace_id: str = "", request_id: str = "") -> None:
        """Another id than of 32 hexadecimal digits counts as none."""
        self.numbers = (*_numbers(trace_id), *_numbers(request_id))


class Seen(NamedTuple):
    """An exemplar as it is exposed: ids of one event, its value and its time."""

    labels: dict[str, str]
    value: float
    timestamp: float


class Series:
    """One series. Keep it instead of looking it up in a hot loop. Thread-safe.

    `lock` is the meter's: whoever changes `cells` directly must hold it.
    """

    __slots__ = ("_exemplars", "_function", "_stamped", "cells", "clock", "edges", "lock")

    def __init__(self, metric: Metric, lock: threading.Lock, clock: Callable[[], float]) -> None:
        self.cells: Cells = [0.0] * width(metric)
        self.cells[USED] = 1.0
        self.lock = lock
        self.clock = clock
        self.edges = metric.buckets
        self._exemplars = COUNTS + _counts(metric) if _exemplars(metric) else 0
        self._stamped = metric.across is Across.LAST
        self._function: Callable[[], float] | None = None

    def inc(self, amount: float = 1, exemplar: Exemplar | None = None) -> None:
        """Add to a counter or gauge."""
        with self.lock:
            self.cells[VALUE] += amount
        if exemplar:
            self._keep(0, amount, exemplar)

    def set(self, value: float) -> None:
        """Set a gauge."""
        with self.lock:
            self.cells[VALUE] = value
            if self._stamped:
                self.cells[USED] = self.clock()

    def set_function(self, function: Callable[[], float]) -> None:
        """Read a gauge's value from a function at each scrape of this process."""
        self._function = function

    def refresh(self) -> None:
        """Set the gauge to the value of its function, if it has one."""
        if self._function is not None:
            self.set(self._function())

    def peak(self, value: float) -> None:
        """Note a value, 0 or more, of a recent maximum."""
        with self.lock:
            minute, cells = self.clock() // MINUTE_SECONDS, self.cells
            if minute != cells[_MINUTE]:
                cells[_BEFORE] = cells[VALUE] if cells[_MINUTE] == minute - 1 else 0.0
                cells[VALUE], cells[_MINUTE] = value, minute
            elif value > cells[VALUE]:
                cells[VALUE] = value

    def observe(self, amount: float, exemplar: Exemplar | None = None) -> None:
        """Add an observation to a histogram or summary."""
        bucket = bisect_left(self.edges, amount)
        with self.lock:
            self.cells[VALUE] += amount
            self.cells[COUNTS + bucket] += 1
        if exemplar:
            self._keep(bucket, amount, exemplar)

    def keep(self, amount: float, exemplar: Exemplar) -> None:
        """Keep the exemplar of an observation as the last one of its bucket."""
        self._keep(bisect_left(self.edges, amount), amount, exemplar)

    def observe_many(self, amount: float, number: int) -> None:
        """Add the same observation several times, to a histogram or summary."""
        with self.lock:
            self.cells[VALUE] += amount * number
            self.cells[COUNTS + bisect_left(self.edges, amount)] += number

    def clear(self) -> None:
        """Mark the row as unused. The caller locks."""
        for place in range(len(self.cells)):
            self.cells[place] = 0.0

    def move(self, cells: Cells) -> None:
        """Count into this row from now on, and add to it what was counted. The caller locks."""
        used = max(cells[USED], self.cells[USED])
        for place in range(VALUE, len(cells)):
            cells[place] += self.cells[place]
        cells[USED] = used
        self.cells = cells

    def _keep(self, bucket: int, amount: float, exemplar: Exemplar) -> None:
        """Keep the exemplar as the last one of its bucket."""
        if not self._exemplars:
            return
        at = self.clock()
        first = self._exemplars + bucket * _EXEMPLAR
        last = first + _EXEMPLAR - 1
        with self.lock:
            cells = self.cells
            cells[last] = at
            for place, number in enumerate(exemplar.numbers, first + 1):
                cells[place] = number
            cells[last - 1] = amount
            cells[first] = at


def observe_all(
    observations: Iterable[tuple[Series, Sequence[float]]],
    lock: threading.Lock,
    exemplar: Exemplar | None = None,
) -> None:
    """Add observations to several histograms of one meter, with its lock: faster than one by one.

    The exemplar is that of the last observation of each.
    """
    observed = list(observations)
    with lock:
        for series, amounts in observed:
            cells, edges = series.cells, series.edges
            cells[VALUE] += sum(amounts)
            buckets = map(bisect_left, repeat(edges), amounts)
            if len(amounts) < _MANY:
                for bucket in buckets:
                    cells[COUNTS + bucket] += 1
            else:
                for bucket, number in Counter(buckets).items():
                    cells[COUNTS + bucket] += number
    if exemplar:
        for series, amounts in observed:
            series.keep(amounts[-1], exemplar)


def width(metric: Metric) -> int:
    """Return how many numbers the row of a series of this metric has."""
    return COUNTS + _counts(metric) + _EXEMPLAR * _exemplars(metric)


def admitted(metric: Metric, known: Collection[Labels], labels: Labels) -> bool:
    """Return True if the metric has room for a series with these labels beside the known ones."""
    others = (OTHER,) * len(labels)
    if labels in known or labels == others:
        return True
    reserved = not (metric.bounded or metric.reserves_extra or others in known)
    return len(known) < metric.series - reserved


def merged(metric: Metric, rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the row of a series that several processes counted."""
    if len(rows) == 1:
        return list(rows[0])
    if metric.across is Across.LAST:
        last: Sequence[float] = max(rows, key=lambda row: row[USED])
        return list(last)
    if metric.across is Across.RECENT:
        return _of_last_minutes(rows)
    plain = COUNTS + _counts(metric)
    combine = max if metric.across is Across.MAX else sum
    row = [float(combine(column)) for column in zip(*(row[:plain] for row in rows), strict=True)]
    row[USED] = 1.0
    for first in range(plain, width(metric), _EXEMPLAR):
        newest: Sequence[float] = max(rows, key=lambda row: row[first])
        row += newest[first : first + _EXEMPLAR]
    return row


def _of_last_minutes(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return the recent maximum of all rows; their last minutes can differ."""
    last = max(row[_MINUTE] for row in rows)
    now = [row[VALUE] for row in rows if row[_MINUTE] == last]
    before = [row[_BEFORE] for row in rows if row[_MINUTE] == last]
    before += [row[VALUE] for row in rows if row[_MINUTE] == last - 1]
    return [1.0, max(now), last, max(before)]


def recent(metric: Metric, row: list[float], now: float) -> list[float] | None:
    """Return the row as it is now; None for a maximum of minutes that are over."""
    if metric.across is not Across.RECENT:
        return row
    age = now // MINUTE_SECONDS - row[_MINUTE]
    if age not in (0, 1):
        return None
    return [row[USED], row[VALUE] if age else max(row[VALUE], row[_BEFORE]), row[_MINUTE], 0.0]


def parts(metric: Metric) -> list[tuple[str, str]]:
    """Return the samples of a series: suffixes of its name, and bucket edges."""
    if metric.kind is Kind.SUMMARY:
        return [("_count", ""), ("_sum", "")]
    if metric.kind is not Kind.HISTOGRAM:
        return [("", "")]
    edges = [repr(float(edge)) if edge < inf else "+Inf" for edge in (*metric.buckets, inf)]
    return [*(("_bucket", edge) for edge in edges), ("_count", ""), ("_sum", "")]


def values(metric: Metric, row: Sequence[float]) -> list[float]:
    """Return the values of a series' samples, in the order of `parts`."""
    if metric.kind is Kind.HISTOGRAM:
        counts = list(accumulate(row[COUNTS : COUNTS + _counts(metric)]))
        return [*counts, counts[-1], row[VALUE]]
    if metric.kind is Kind.SUMMARY:
        return [row[COUNTS], row[VALUE]]
    return [row[VALUE]]


def exemplars(metric: Metric, row: Sequence[float]) -> Iterator[Seen | None]:
    """Yield the exemplar of each sample that can have one, or None."""
    for first in range(COUNTS + _counts(metric), len(row), _EXEMPLAR):
        at, *numbers, value, again = row[first : first + _EXEMPLAR]
        if not at or at != again:  # none, or another process is just writing it
            yield None
            continue
        ids = {"trace_id": _id(numbers[:3]), "request_id": _id(numbers[3:])}
        yield Seen({name: text for name, text in ids.items() if text}, value, at)


def _numbers(text: str) -> tuple[float, float, float]:
    """Return an id as three numbers; no id as zeros."""
    number = int(text, 16) if _ID.fullmatch(text) else 0
    part = (1 << _PART) - 1
    return number >> 2 * _PART, number >> _PART & part, number & part


def _id(numbers: Sequence[float]) -> str:
    high, middle, low = map(int, numbers)
    number = high << 2 * _PART | middle << _PART | low
    return f"{number:032x}" if number else ""


def _counts(metric: Metric) -> int:
    if metric.kind is Kind.HISTOGRAM:
        return len(metric.buckets) + 1
    return 2 if metric.across is Across.RECENT else int(metric.kind is Kind.SUMMARY)


def _exemplars(metric: Metric) -> int:
    if metric.kind is Kind.HISTOGRAM:
        return len(metric.buckets) + 1
    return int(metric.kind is Kind.COUNTER)
