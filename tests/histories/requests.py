"""Requests to the model as counters and histograms: by type, result and priority."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from safelight.reasons import NO_ERROR, outcome_of
from tests.histories.exposition import Counts, Floats, Target, starts_at_zero
from tests.histories.load import Load
from tests.histories.randomness import observed
from tests.histories.service import LARGE, Failing, Service

EDIT = "/api/edit"
_STEPS = {"1-5": 5, "6-10": 5, "11-20": 10}
_TIMEOUT_SECONDS = 60.0
_Labels = tuple[tuple[str, str], ...]
_Drawn = list[tuple[Counts, Floats, float]]


class Requests:
    """The requests of one replica. `counts` are its counters by what each step adds."""

    def __init__(self, service: Service, load: Load, rng: np.random.Generator) -> None:
        self._service, self._load, self._rng = service, load, rng
        self._drawn: dict[tuple[Metric, _Labels], _Drawn] = {}
        self.counts: dict[tuple[Metric, tuple[str, ...]], Floats] = {}
        self.calls: Counts = np.zeros(service.grid.steps, dtype=np.int64)
        self._answer_all()

    def count(self, metric: Metric, labels: tuple[str, ...], number: NDArray[np.generic]) -> None:
        """Add to a counter."""
        old = self.counts.get((metric, labels), 0.0)
        self.counts[metric, labels] = np.asarray(old + np.asarray(number, dtype=float))

    def expose(self, target: Target) -> None:
        """Expose all counters and histograms."""
        for step, times in _STEPS.items():
            seconds = self._service.call_seconds / 24
            self._took(c.STEP_SECONDS, self.calls * times, seconds, 0.15, step=step)
        for (metric, labels), drawn in self._drawn.items():
            counts = np.zeros((self._service.grid.steps, len(metric.buckets) + 1), dtype=np.int64)
            sums = self._service.grid.full(0)
            for number, mean, part in drawn:
                more, took = observed(self._rng, number, mean, part, metric.buckets)
                counts, sums = counts + more, sums + took
            target.histogram(metric, counts, sums, **dict(labels))
        for (metric, values), added in self.counts.items():
            pairs = dict(zip(metric.label_names, values, strict=True))
            first = starts_at_zero(metric) or metric is c.SUCCESSES
            target.counter(metric, added, first, **pairs)

    # ── Requests ─────────────────────────────────────────────────────────────────────────────────

    def _answer_all(self) -> None:
        load, types = self._load, self._service.types
        wait = np.minimum(load.wait, _TIMEOUT_SECONDS)
        parts = self._rng.multinomial(load.normal, tuple(types.values()))
        for place, kind in enumerate(types):
            self._answer(kind, parts[:, place], wait, "normal")
        if load.low.any():
            self._answer(next(iter(types)), load.low, load.low_wait, "low")

    def _answer(self, kind: str, number: Counts, wait: Floats, priority: str) -> None:
        left = number
        for failing in self._failings(kind, wait):
            failed = self._rng.binomial(left, failing.share)
            left = left - failed
            self._failed(kind, failing, priority, failed)
        self._ended(kind, 200, NO_ERROR, priority, left)
        call = self._service.call_seconds
        large = self._rng.binomial(left, self._service.large)
        for size, each, factor in (("512x512", left - large, 1.0), ("1024x1024", large, LARGE)):
            self._responded(kind, 200, priority, each, wait + factor * call + 0.1, NO_ERROR)
            self._took(c.INFERENCE_SECONDS, each, factor * call, 0.15, precision="float16")
            self.count(c.IMAGES, (size,), each)
        self._took(c.QUEUED_SECONDS, left, np.maximum(wait, 0.002), 0.6, priority=priority)
        self.calls = self.calls + left

    def _failings(self, kind: str, wait: Floats) -> Iterator[Failing]:
        yield Failing(
            self._load.refusing.astype(float), 503, "not_ready", 0.002, refusal="not_ready"
        )
        late = np.clip((wait - 0.75 * _TIMEOUT_SECONDS) / (0.5 * _TIMEOUT_SECONDS), 0, 1)
        yield Failing(late * (1 - self._load.served), 504, "timeout", _TIMEOUT_SECONDS)
        yield from (each for each in self._service.failings if each.kind in (None, kind))

    def _failed(self, kind: str, failing: Failing, priority: str, number: Counts) -> None:
        if not number.any():
            return
        self._ended(kind, failing.status, failing.error, priority, number)
        seconds = self._service.grid.full(failing.seconds)
        self._responded(kind, failing.status, priority, number, seconds, failing.error)
        if failing.device:
            self.calls = self.calls + number
            self._took(c.INFERENCE_SECONDS, number, self._service.call_seconds, 0.15,
                       precision="float16")  # fmt: skip
        if failing.refusal:
            self.count(c.REJECTED, (failing.refusal,), number)

    def _ended(self, kind: str, status: int, error: str, priority: str, number: Counts) -> None:
        self.count(c.REQUESTS, (EDIT, str(status), kind, error), number)
        self.count(c.SUCCESSES, (EDIT, kind), number if error == NO_ERROR else 0 * number)
        self.count(c.OUTCOMES, (outcome_of(error), priority), number)
        self.count(c.HTTP_REQUESTS, (EDIT, "POST", str(status)), number)

    def _responded(
        self, kind: str, status: int, priority: str, number: Counts, mean: Floats, error: str
    ) -> None:
        if outcome_of(error) in ("ok", "server_error"):
            self._took(c.PRIORITY_SECONDS, number, mean, 0.2, priority=priority)
        self._took(c.REQUEST_SECONDS, number, mean, 0.2, endpoint=EDIT, status_code=str(status),
                   instruction_type=kind, priority=priority)  # fmt: skip
        self._took(c.HTTP_SECONDS, number, mean, 0.2, handler=EDIT, method="POST")

    def _took(
        self, metric: Metric, number: Counts, mean: Floats, part: float, **labels: str
    ) -> None:
        """Remember observations of a histogram, with those of the labels that the metric has."""
        key = tuple((name, labels[name]) for name in metric.label_names)
        self._drawn.setdefault((metric, key), []).append((number, mean, part))
