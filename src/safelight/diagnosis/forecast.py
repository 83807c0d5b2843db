"""Forecast when memory, file systems, the queue and error budgets are used up."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from safelight.diagnosis.checks.common import gpu_memory_total, steady_growth
from safelight.diagnosis.evidence import Evidence, Where
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.queries import Statistic
from safelight.diagnosis.slope import Point, latest
from safelight.metrics import catalog as c
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Queries
from safelight.rules.objectives import DAYS, OBJECTIVES, burn_name, missed_name
from safelight.settings import Settings

_DAY = 86_400.0
_USED_UP = (0.0, 0.0, 0.0)
_HORIZON_SECONDS = 90 * _DAY
_TRIALS = 12
_Z = 1.96  # 97.5 % quantile of the normal distribution

Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """Back-test: forecasts made at earlier points of the same curve.

    `error` is their median error as a share of the curve's range. `covered` is the share of
    intervals that contained the true level.
    """

    number: int
    error: float
    covered: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Time until a level reaches its limit: expected, earliest, latest, in seconds, or None.

    `assumed` is True if the service does not expose its limit, so the default is used.
    """

    what: str
    subject: str
    level: float
    limit: float
    unit: str
    ends: Ends | None
    trial: Trial | None = None
    assumed: bool = False

    @property
    def used_up(self) -> bool:
        """Return True if the limit is reached already."""
        return self.ends is not None and self.ends[2] <= 0


@dataclass(frozen=True, slots=True)
class _Store:
    """Something that can be used up: the metric of its level, its limit, and a default limit."""

    what: str
    level: Metric
    limit: Callable[[Evidence, Series], float | None]
    unit: str = "bytes"
    default: float | None = None


def _gpu_memory(evidence: Evidence, curve: Series) -> float | None:
    return gpu_memory_total(evidence, curve.labels)


def _host_memory(evidence: Evidence, curve: Series) -> float | None:
    return evidence.now.sum(c.HOST_MEMORY_TOTAL, where=_where(curve, INSTANCE))


def _filesystem_size(evidence: Evidence, curve: Series) -> float | None:
    where = _where(curve, INSTANCE, c.MOUNTPOINT)
    return evidence.now.sum(c.HOST_FILESYSTEM_SIZE, where=where)


def _queue_limit(evidence: Evidence, curve: Series) -> float | None:
    """Return the request timeout: requests in a longer queue fail."""
    return evidence.now.sum(c.REQUEST_TIMEOUT, Statistic.LAST, where=_where(curve, INSTANCE))


def _where(curve: Series, *labels: Label) -> Where:
    return {label: curve.labels.get(label.name, "") for label in labels}


# The metric has the name of its setting.
_TIMEOUT_SECONDS: float = Settings.model_fields[c.REQUEST_TIMEOUT.name].default
_STORES = (
    _Store("GPU memory of PyTorch", c.VRAM_USED, _gpu_memory),
    _Store("GPU memory in total", c.GPU_MEMORY_USED, _gpu_memory),
    _Store("host memory", c.HOST_MEMORY_USED, _host_memory),
    _Store("file system", c.HOST_FILESYSTEM_USED, _filesystem_size),
    _Store("queue", c.QUEUED_WORK, _queue_limit, "seconds", default=_TIMEOUT_SECONDS),
)


def forecasts(evidence: Evidence) -> list[Forecast]:
    """Return the forecasts of all levels, those that reach their limit first in front."""
    results = [forecast for store in _STORES for forecast in _store_forecasts(evidence, store)]
    return sorted(results, key=lambda each: each.ends[0] if each.ends else float("inf"))


def budgets(prometheus: Prometheus, evidence: Evidence) -> list[Forecast]:
    """Return when each error budget is used up, at the burn rate of the last six hours.

    Needs the recording rules. The interval is the Poisson interval of the number of missed events.
    Raises MonitoringFailed.
    """
    service, at = evidence.service, evidence.at
    queries = Queries(service.namespace, matchers={JOB: service.job})
    expressions = {
        "spent": queries.recorded(burn_name(service.namespace, f"{DAYS}d")),
        "burn": queries.recorded(burn_name(service.namespace, "6h")),
        "missed": f"60 * sum_over_time({queries.recorded(missed_name(queries))}[6h])",
    }
    results = {
        name: {
            series.labels.get("objective", ""): series.value for series in prometheus.instant(q, at)
        }
        for name, q in expressions.items()
    }
    least_missed = evidence.limits.least_missed
    burns, missed = results["burn"], results["missed"]
    return [
        _budget(name, spent, burns.get(name, 0.0), missed.get(name, 0.0), least_missed)
        for name in (objective.name for objective in OBJECTIVES)
        if (spent := results["spent"].get(name)) is not None
    ]


def back_test(points: Sequence[Point]) -> Trial | None:
    """Return the errors of forecasts made at earlier points, each an eighth of the curve ahead."""
    ahead = max(1, len(points) // 8)
    extent = max((v for _, v in points), default=0.0) - min((v for _, v in points), default=0.0)
    starts = range(len(points) // 2, len(points) - ahead, max(1, len(points) // (2 * _TRIALS)))
    errors, hits = [], 0
    for cut in starts:
        line = latest(points[:cut])
        if line is None or not extent:
            continue
        at, true = points[cut + ahead - 1]
        seconds = at - points[cut - 1][0]
        low, high = (line.level + rate * seconds for rate in (line.low, line.high))
        errors.append(abs(line.level + line.slope * seconds - true) / extent)
        hits += min(low, high) - 3 * line.noise <= true <= max(low, high) + 3 * line.noise
    return Trial(len(errors), median(errors), hits / len(errors)) if errors else None


def _store_forecasts(evidence: Evidence, store: _Store) -> Iterator[Forecast]:
    for curve in evidence.curve(store.level, Statistic.MIN):
        exposed = store.limit(evidence, curve)
        limit = exposed or store.default
        if not limit:
            continue
        line = steady_growth(evidence, curve)
        ends = line.seconds_to(limit) if line else None
        if ends and ends[0] > _HORIZON_SECONDS:
            ends = None
        if curve.value >= limit:
            ends = _USED_UP
        labels = (INSTANCE, c.GPU, c.DEVICE, c.MOUNTPOINT)
        names = (curve.labels.get(label.name, "") for label in labels)
        subject = " ".join(name for name in names if name)
        trial = back_test(curve.points) if ends not in (None, _USED_UP) else None
        assumed = not exposed
        yield Forecast(store.what, subject, curve.value, limit, store.unit, ends, trial, assumed)


def _budget(name: str, spent: float, burn: float, missed: float, least_missed: float) -> Forecast:
    remaining, ends = 1 - spent, None
    if burn > 0 and missed >= least_missed and remaining > 0:
        spread = _Z / sqrt(missed)
        expected = remaining * DAYS * _DAY / burn
        ends = (expected, expected / (1 + spread), expected / max(1e-9, 1 - spread))
        ends = None if expected > _HORIZON_SECONDS else ends
    elif remaining <= 0:
        ends = _USED_UP
    return Forecast("error budget", name, spent, 1.0, "ratio", ends)
