"""What `safelight top` shows: two readings of `/metrics`, made into rates and quantiles. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from safelight.metrics.catalog import (
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    HOST_CPU,
    HOST_MEMORY_TOTAL,
    HOST_MEMORY_USED,
    IN_FLIGHT,
    MODEL_INFO,
    QUEUE_DEPTH,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
    STAGES,
    STEP_PLACES,
    STEP_SECONDS,
    VRAM_PEAK,
    VRAM_USED,
    WORKERS_READY,
)
from safelight.metrics.registry import Samples, where
from safelight.metrics.spec import Metric

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Card:
    """One card as its own driver sees it; None where it does not say."""

    name: str
    utilization_ratio: float | None
    used_bytes: float | None
    total_bytes: float | None
    celsius: float | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the screen. Rates and quantiles are of the time between the readings."""

    model: str
    workers_ready: float | None
    requests_per_second: float
    failures_per_second: float
    latency_seconds: tuple[float | None, ...]
    stage_shares: dict[str, float]
    step_seconds: dict[str, float]
    steps_per_second: float
    queue_depth: float
    in_flight: float
    vram: dict[str, tuple[float, float]]
    cards: tuple[Card, ...]
    cpu_ratio: float | None
    memory: tuple[float, float] | None


def namespace_of(samples: Samples) -> str | None:
    """Return the namespace of the service that exposes these samples, if one is told."""
    suffix = f"_{MODEL_INFO.name}"
    return next((name.removesuffix(suffix) for name, _ in samples if name.endswith(suffix)), None)


class Reading:
    """Samples of one namespace, compared with those of an earlier reading."""

    def __init__(self, now: Samples, before: Samples, seconds: float, namespace: str) -> None:
        self._now = now
        self._before = before
        self._seconds = max(seconds, 1e-9)
        self._namespace = namespace

    def view(self) -> View:
        """Return what to show."""
        failed = self._rate(REQUESTS) - self._rate(REQUESTS, error="none")
        stages = {stage: self._rise(STAGE_SECONDS, "_sum", stage=stage) for stage in STAGES}
        whole = sum(stages.values())
        return View(
            model=self._model(),
            workers_ready=self._gauge(WORKERS_READY),
            requests_per_second=self._rate(REQUESTS),
            failures_per_second=failed,
            latency_seconds=tuple(self._quantile(q, REQUEST_SECONDS) for q in QUANTILES),
            stage_shares={stage: s / whole for stage, s in stages.items() if whole and s > 0},
            step_seconds=self._step_means(),
            steps_per_second=self._rise(STEP_SECONDS, "_count") / self._seconds,
            queue_depth=self._gauge(QUEUE_DEPTH) or 0,
            in_flight=self._gauge(IN_FLIGHT) or 0,
            vram=self._vram(),
            cards=tuple(self._cards()),
            cpu_ratio=self._gauge(HOST_CPU),
            memory=self._memory(),
        )

    def _rise(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        """Return how much a counter rose, all series that fit together; a restart counts from 0."""
        name = metric.full_name(self._namespace) + suffix
        rises = 0.0
        for found, value in where(self._now, name, **labels):
            earlier = self._before.get((name, frozenset(found.items())), 0.0)
            rises += value - earlier if value >= earlier else value
        return rises

    def _rate(self, metric: Metric, **labels: str) -> float:
        return self._rise(metric, **labels) / self._seconds

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

    def _cards(self) -> Iterable[Card]:
        for labels, used in where(self._now, GPU_MEMORY_USED.name):
            gpu = labels["gpu"]
            yield Card(
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
        for labels, _ in where(self._now, MODEL_INFO.full_name(self._namespace)):
            return f"{labels['model']} · {labels['precision']} on {labels['device']}"
        return "no model loaded"


def quantile(q: float, edges: list[float], cumulative: list[float]) -> float | None:
    """Return a histogram's q-quantile, or None without observations.

    As Prometheus' histogram_quantile: linear inside the bucket, and the last finite edge for what
    lies beyond it.
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


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else str(float(edge))
