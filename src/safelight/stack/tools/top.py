"""Compute the rates and quantiles of `safelight top` from readings of `/metrics`."""

from collections import deque
from collections.abc import Iterable
from operator import itemgetter

from safelight.metrics.buckets import STEP_PLACES
from safelight.metrics.catalog import (
    BATCH_LIMIT,
    BATCH_SIZE,
    BUILD_INFO,
    CIRCUIT_OPEN,
    DEGRADATION_LEVEL,
    DEVICE_SECONDS,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    HOST_CPU,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    IN_FLIGHT,
    MODEL_ASLEEP,
    MODEL_INFO,
    QUEUE_DEPTH,
    QUEUED_SECONDS,
    QUEUED_WORK,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
    SERVICE_INFO,
    STAGE_SECONDS,
    STAGES,
    STEP_SECONDS,
    VRAM_PEAK,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.metric import Metric
from safelight.metrics.registry import Samples, where
from safelight.reasons import NO_ERROR
from safelight.stack.tools.view import Engine, Gpu, View

QUANTILES = (0.5, 0.95, 0.99)
_NAMESPACED = (MODEL_INFO, WORKERS_READY, IN_FLIGHT)  # of an older Safelight


def is_from_safelight(samples: Samples) -> bool:
    """Return True if Safelight exposed these samples."""
    return any(name == BUILD_INFO.name for name, _ in samples)


def namespace_of(samples: Samples) -> str | None:
    """Return the namespace of the service that exposes these samples, or None."""
    for labels, _ in where(samples, SERVICE_INFO.name):
        return labels["namespace"]
    for metric in _NAMESPACED:
        suffix = f"_{metric.name}"
        for name, _ in samples:
            if name.endswith(suffix):
                return name.removesuffix(suffix)
    return None


class Window:
    """The readings of the last seconds. Rates cover all of them, so that they change slowly."""

    def __init__(self, seconds: float, kept_rates: int = 30) -> None:
        self._seconds = seconds
        self._readings: deque[tuple[float, Samples]] = deque()
        self._rates: deque[float] = deque(maxlen=kept_rates)

    def add(self, now: Samples, at: float) -> View:
        """Add a reading made at the time `at`, in seconds, and return the new view."""
        namespace = namespace_of(now)
        if self._readings:
            last_at, last = self._readings[-1]
            self._rates.append(Reading(now, last, at - last_at, namespace).requests_per_second)
        while len(self._readings) > 1 and at - self._readings[1][0] >= self._seconds:
            self._readings.popleft()
        self._readings.append((at, now))
        before_at, before = self._readings[0]
        return Reading(now, before, at - before_at, namespace).view(tuple(self._rates))


class Reading:
    """Samples of one namespace, compared with those of an earlier reading.

    Without a namespace no model is monitored, and requests are the HTTP requests.
    """

    def __init__(
        self, now: Samples, before: Samples, seconds: float, namespace: str | None
    ) -> None:
        self._now = now
        self._before = before
        self._seconds = max(seconds, 1e-9)
        self._namespace = namespace or ""
        self._requests = REQUESTS if namespace else HTTP_REQUESTS
        self._request_seconds = REQUEST_SECONDS if namespace else HTTP_SECONDS

    @property
    def requests_per_second(self) -> float:
        """Return the completed requests per second, including the failed ones."""
        return self._rise(self._requests) / self._seconds

    def view(self, recent_rates: tuple[float, ...] = ()) -> View:
        """Return the content of the screen."""
        stages = {stage: self._rise(STAGE_SECONDS, "_sum", stage=stage) for stage in STAGES}
        total = sum(stages.values())
        return View(
            model=self._model(),
            seconds=self._seconds,
            workers_ready=self._gauge(WORKERS_READY),
            worker_restarts=self._gauge(WORKER_RESTARTS) or 0,
            requests_per_second=self.requests_per_second,
            recent_rates=recent_rates,
            failures=self._failures(),
            latency_seconds=tuple(self._quantile(q, self._request_seconds) for q in QUANTILES),
            queued_seconds=self._quantile(0.95, QUEUED_SECONDS),
            engine=self._engine(),
            stage_shares={stage: s / total for stage, s in stages.items() if total and s > 0},
            step_seconds=self._step_means(),
            steps_per_second=self._rise(STEP_SECONDS, "_count") / self._seconds,
            queue_depth=self._gauge(QUEUE_DEPTH) or 0,
            in_flight=self._gauge(IN_FLIGHT) or 0,
            vram=self._vram(),
            gpus=tuple(self._gpus()),
            cpu_ratio=self._gauge(HOST_CPU),
            memory=self._memory(),
            sleeps=bool(self._gauge(MODEL_ASLEEP)),
        )

    def _engine(self) -> Engine | None:
        """Return the values that only a service of `safelight serve` has."""
        level = self._gauge(DEGRADATION_LEVEL)
        if level is None:
            return None
        batches = self._rise(BATCH_SIZE, "_count")
        uses = self._rises_by(DEVICE_SECONDS, "use")
        total = sum(uses.values())
        return Engine(
            batch_mean=self._rise(BATCH_SIZE, "_sum") / batches if batches else None,
            batch_limit=self._gauge(BATCH_LIMIT),
            batch_sizes=self._sizes(),
            work_seconds=self._gauge(QUEUED_WORK) or 0.0,
            device_shares={use: seconds / total for use, seconds in uses.items()},
            degradation_level=level,
            circuit_open=self._gauge(CIRCUIT_OPEN) or 0.0,
            refused={
                reason: rise / self._seconds
                for reason, rise in self._rises_by(REJECTED, "reason").items()
            },
        )

    def _rises_by(self, metric: Metric, label: str) -> dict[str, float]:
        """Return the increases of a counter by label value, the largest first, without zeros."""
        rises = {labels[label]: rise for labels, rise in self._rises(metric) if rise > 0}
        return dict(sorted(rises.items(), key=itemgetter(1), reverse=True))

    def _sizes(self) -> dict[str, float]:
        """Return the number of batches in each bucket of the histogram of sizes."""
        sizes: dict[str, float] = {}
        below, last = 0.0, 0
        for edge in BATCH_SIZE.buckets:
            cumulative = self._rise(BATCH_SIZE, "_bucket", le=_edge(edge))
            if cumulative > below:
                size = int(edge)
                sizes[f"{size}" if size == last + 1 else f"{last + 1}-{size}"] = cumulative - below
            below, last = cumulative, int(edge)
        return sizes

    def _rise(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        """Return the increase of a counter, summed over series; a restart counts from 0."""
        return sum(rise for _, rise in self._rises(metric, suffix, **labels))

    def _rises(
        self, metric: Metric, suffix: str = "", **labels: str
    ) -> Iterable[tuple[dict[str, str], float]]:
        name = metric.full_name(self._namespace) + suffix
        for series, value in where(self._now, name, **labels):
            earlier = self._before.get((name, frozenset(series.items())), 0.0)
            yield series, value - earlier if value >= earlier else value

    def _failures(self) -> dict[str, float]:
        """Return the failed requests per second by reason, the most frequent first."""
        failures: dict[str, float] = {}
        for labels, rise in self._rises(self._requests):
            reason = labels.get("error") or _reason(labels["status"])
            if reason != NO_ERROR and rise:
                failures[reason] = failures.get(reason, 0.0) + rise / self._seconds
        return dict(sorted(failures.items(), key=itemgetter(1), reverse=True))

    def _gauge(self, metric: Metric, **labels: str) -> float | None:
        name = metric.full_name(self._namespace)
        values = [value for _, value in where(self._now, name, **labels)]
        return sum(values) if values else None

    def _quantile(self, q: float, metric: Metric) -> float | None:
        edges = [*metric.buckets, float("inf")]
        counts = [self._rise(metric, "_bucket", le=_edge(edge)) for edge in edges]
        return quantile(q, edges, counts)

    def _step_means(self) -> dict[str, float]:
        means = {}
        for place in STEP_PLACES:
            steps = self._rise(STEP_SECONDS, "_count", step=place)
            if steps:
                means[place] = self._rise(STEP_SECONDS, "_sum", step=place) / steps
        return means

    def _vram(self) -> dict[str, tuple[float, float]]:
        used = where(self._now, VRAM_USED.full_name(self._namespace))
        return {
            labels["device"]: (value, self._gauge(VRAM_PEAK, device=labels["device"]) or value)
            for labels, value in used
        }

    def _gpus(self) -> Iterable[Gpu]:
        for labels, used in where(self._now, GPU_MEMORY_USED.name):
            gpu = labels["gpu"]
            yield Gpu(
                name=gpu,
                utilization_ratio=self._gauge(GPU_UTILIZATION, gpu=gpu),
                used_bytes=used,
                total_bytes=self._gauge(GPU_MEMORY_TOTAL, gpu=gpu),
                celsius=self._gauge(GPU_TEMPERATURE, gpu=gpu),
            )

    def _memory(self) -> tuple[float, float] | None:
        used, total = self._gauge(HOST_MEMORY_USED), self._gauge(HOST_MEMORY_TOTAL)
        return (used, total) if used is not None and total is not None else None

    def _model(self) -> str:
        if not self._namespace:
            return "no model is monitored; the requests are HTTP requests"
        for labels, _ in where(self._now, MODEL_INFO.full_name(self._namespace)):
            return f"{labels['model']} · {labels['precision']} on {labels['device']}"
        return "not loaded yet"


def quantile(q: float, edges: list[float], cumulative: list[float]) -> float | None:
    """Return the q-quantile of cumulative bucket counts, or None without observations.

    Like Prometheus' histogram_quantile: linear inside a bucket; the last finite edge for values
    above it.
    """
    total = cumulative[-1]
    if total <= 0:
        return None
    rank = q * total
    place = next(number for number, count in enumerate(cumulative) if count >= rank)
    if edges[place] == float("inf"):
        return edges[place - 1]
    low, below = (edges[place - 1], cumulative[place - 1]) if place else (0.0, 0.0)
    inside = cumulative[place] - below
    return low + (edges[place] - low) * ((rank - below) / inside if inside else 1.0)


def _reason(status: str) -> str:
    return NO_ERROR if status < "400" else f"HTTP {status}"


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else str(float(edge))
