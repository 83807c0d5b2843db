"""Scraped targets as series over time, in promtool's notation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from safelight.metrics.metric import Kind, Metric

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

UNLISTED, DOWN = -2, -1  # instead of the number of a process


@dataclass(frozen=True, slots=True)
class Grid:
    """The times of the scrapes, from 0."""

    step_seconds: int
    steps: int

    @property
    def times(self) -> Floats:
        return np.arange(self.steps, dtype=np.float64) * self.step_seconds

    def full(self, value: float) -> Floats:
        return np.full(self.steps, float(value))

    def at(self, minute: float) -> int:
        """Return the number of the scrape at a minute."""
        return min(self.steps, round(minute * 60 / self.step_seconds))

    def during(self, begin: float, end: float) -> Flags:
        """Return which scrapes are from one minute until before another."""
        minutes = self.times / 60
        return (minutes >= begin) & (minutes < end)


@dataclass(slots=True)
class Target:
    """One scraped process after the other at one address.

    `life` is the number of the process at each scrape, DOWN or UNLISTED. `seen` is False where
    Prometheus did not scrape. `age_seconds` is the age of the first process at the first scrape.
    """

    grid: Grid
    job: str
    instance: str
    life: Counts
    seen: Flags
    age_seconds: float = 0.0
    namespace: str = ""
    rows: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.put("up", np.where(self.life >= 0, 1.0, 0.0), self.seen & (self.life > UNLISTED), {})
        self.gauge("process_start_time_seconds", self.started)

    @property
    def alive(self) -> Flags:
        return self.life >= 0

    @property
    def started(self) -> Floats:
        """Return the start of the process that runs at each scrape."""
        times, result = self.grid.times, self.grid.full(np.nan)
        for number in np.unique(self.life[self.alive]):
            first = int(np.argmax(self.life == number))
            old = self.age_seconds if first == 0 else min(12.0, self.grid.step_seconds * 0.8)
            result[self.life == number] = times[first] - old
        return result

    def gauge(self, metric: Metric | str, values: Floats, /, **labels: str) -> None:
        self.put(self._name(metric), values, self.seen & self.alive, labels)

    def counter(
        self, metric: Metric | str, added: NDArray[np.generic], zero: bool, /, **labels: str
    ) -> None:
        """Expose a counter by what each step adds; without `zero`, from its first event on."""
        total, exists = self._total(np.asarray(added, dtype=float))
        if zero or exists.any():
            shown = total if zero else np.where(exists, total, np.nan)
            self.gauge(self._name(metric), shown, **labels)

    def histogram(
        self, metric: Metric, counts: Counts, sums: Floats, zero: bool = False, /, **labels: str
    ) -> None:
        """Expose a histogram by the observations of each step and bucket, the last of `+Inf`."""
        total, exists = self._total(counts.sum(axis=1).astype(float))
        if not zero and not exists.any():
            return
        name, shown = self._name(metric), exists | zero
        edges = [*(f"{float(edge)}" for edge in metric.buckets), "+Inf"]
        below = np.cumsum(counts, axis=1)
        for place, edge in enumerate(edges):
            values, _ = self._total(below[:, place].astype(float))
            self.gauge(f"{name}_bucket", np.where(shown, values, np.nan), **labels, le=edge)
        self.gauge(f"{name}_sum", np.where(shown, self._total(sums)[0], np.nan), **labels)
        self.gauge(f"{name}_count", np.where(shown, total, np.nan), **labels)

    def _total(self, added: Floats) -> tuple[Floats, Flags]:
        """Return the value of a counter, from 0 in each process, and whether an event was."""
        counted = np.where(self.alive, added, 0.0)
        total = np.cumsum(counted)
        result = np.zeros_like(total)
        for number in np.unique(self.life[self.alive]):
            own = self.life == number
            first = int(np.argmax(own))
            before = total[first - 1] if first else 0.0
            if not first:  # it counted before the first scrape, too
                before -= round(float(counted.mean()) * self.age_seconds / self.grid.step_seconds)
            result[own] = total[own] - before
        return result, result > 0

    def _name(self, metric: Metric | str) -> str:
        return metric if isinstance(metric, str) else metric.full_name(self.namespace)

    def put(self, name: str, values: Floats, shown: Flags, labels: dict[str, str]) -> None:
        """Add a series. Where the target is scraped without it, or is not up, it becomes stale."""
        self.names.add(name)
        pairs = {"job": self.job, "instance": self.instance, **labels}
        key = name + "{" + ", ".join(f'{k}="{v}"' for k, v in pairs.items()) + "}"
        present = shown & ~np.isnan(values)
        ends = np.zeros_like(present)
        ends[1:] = present[:-1] & ~present[1:] & self.seen[1:]
        self.rows[key] = " ".join(_runs(values.tolist(), present.tolist(), ends.tolist()))


def _runs(values: Sequence[float], present: Sequence[bool], ends: Sequence[bool]) -> Iterator[str]:
    """Yield promtool's notation of a series, with equal values next to each other as one."""
    tokens = (
        value if here else "stale" if end else "_"
        for value, here, end in zip(values, present, ends, strict=True)
    )
    for token, group in groupby(tokens):
        number = sum(1 for _ in group)
        if token == "_":
            yield f"_x{number}"
        elif token == "stale":
            yield " ".join(["stale"] * number)
        else:
            text = f"{token:.12g}"
            yield text if number == 1 else f"{text}x{number - 1}"


def starts_at_zero(metric: Metric) -> bool:
    """Return True for a counter without labels or with closed ones only."""
    return metric.kind is Kind.COUNTER and all(label.closed for label in metric.labels)
