"""When something will be used up: memory, disk, queue, budget; with an interval, or silence."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from safelight.diagnosis.checks.memory import steady
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.slope import Point, latest
from safelight.metrics import catalog as c
from safelight.metrics.metric import Metric
from safelight.metrics.promql import JOB, Queries
from safelight.rules.objectives import DAYS, OBJECTIVES, burn_name, missed_name
from safelight.settings import Settings

_DAY = 86_400.0
_FEWEST_MISSED = 5
_USED_UP = (0.0, 0.0, 0.0)
_HORIZON_SECONDS = 90 * _DAY  # further ahead nobody can see
_TRIALS = 12

Ends = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """How earlier forecasts of the same curve did: how many, their median error, hits of 95 %.

    The error is a share of what the curve moved over.
    """

    number: int
    error: float
    covered: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a level comes to its limit: expected, soonest, latest, in seconds; None if unknown.

    A limit is assumed where the service does not tell its own and the default is taken.
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
        """Tell whether the limit is reached already."""
        return self.ends is not None and self.ends[2] <= 0


@dataclass(frozen=True, slots=True)
class _Store:
    """Something that can be used up: its level's curve, where its limit is read, or a default."""

    what: str
    level: Metric
    limit: Callable[[Evidence, Series], float | None]
    unit: str = "bytes"
    default: float | None = None


def _of_card(evidence: Evidence, curve: Series) -> float | None:
    gpu = curve.labels.get("gpu") or curve.labels.get("device", "").removeprefix("cuda:")
    return evidence.now.sum(c.GPU_MEMORY_TOTAL, instance=curve.labels.get("instance", ""), gpu=gpu)


def _of_host(evidence: Evidence, curve: Series) -> float | None:
    return evidence.now.sum(c.HOST_MEMORY_TOTAL, instance=curve.labels.get("instance", ""))


def _of_mount(evidence: Evidence, curve: Series) -> float | None:
    where = {name: curve.labels.get(name, "") for name in ("instance", "mountpoint")}
    return evidence.now.sum(c.HOST_FILESYSTEM_SIZE, **where)


def _of_queue(evidence: Evidence, curve: Series) -> float | None:
    """Return what may wait at most: then requests run out of time."""
    instance = curve.labels.get("instance", "")
    return evidence.now.sum(c.REQUEST_TIMEOUT, "last", instance=instance)


# The metric has its setting's name.
_TIMEOUT_SECONDS: float = Settings.model_fields[c.REQUEST_TIMEOUT.name].default
_STORES = (
    _Store("card memory of PyTorch", c.VRAM_USED, _of_card),
    _Store("card memory in all", c.GPU_MEMORY_USED, _of_card),
    _Store("host memory", c.HOST_MEMORY_USED, _of_host),
    _Store("file system", c.HOST_FILESYSTEM_USED, _of_mount),
    _Store("queue", c.QUEUED_WORK, _of_queue, "seconds", default=_TIMEOUT_SECONDS),
)


def forecasts(evidence: Evidence) -> list[Forecast]:
    """Return what is known of each thing that can be used up, those that end first in front."""
    found = [made for store in _STORES for made in _of_store(evidence, store)]
    return sorted(found, key=lambda each: each.ends[0] if each.ends else float("inf"))


def budgets(prometheus: Prometheus, evidence: Evidence) -> list[Forecast]:
    """Return when each error budget is gone, as it burned in the last six hours.

    Needs the recording rules. The interval is that of the missed events' number (Poisson). Raises
    MonitoringFailed.
    """
    service, at = evidence.service, evidence.at
    queries = Queries(service.namespace, matchers={JOB: service.job})
    asked = {
        "spent": queries.recorded(burn_name(service.namespace, f"{DAYS}d")),
        "burn": queries.recorded(burn_name(service.namespace, "6h")),
        "missed": f"60 * sum_over_time({queries.recorded(missed_name(queries))}[6h])",
    }
    answers = {
        name: {
            series.labels.get("objective", ""): series.value for series in prometheus.instant(q, at)
        }
        for name, q in asked.items()
    }
    return [
        _budget(objective.name, *(answers[name].get(objective.name, 0.0) for name in asked))
        for objective in OBJECTIVES
        if objective.name in answers["spent"]
    ]


def tried(points: Sequence[Point]) -> Trial | None:
    """Return how forecasts made at earlier times did an eighth of the curve later."""
    ahead = max(1, len(points) // 8)
    reach = max((v for _, v in points), default=0.0) - min((v for _, v in points), default=0.0)
    starts = range(len(points) // 2, len(points) - ahead, max(1, len(points) // (2 * _TRIALS)))
    errors, hits = [], 0
    for cut in starts:
        line = latest(points[:cut])
        if line is None or not reach:
            continue
        at, true = points[cut + ahead - 1]
        seconds = at - points[cut - 1][0]
        low, high = (line.level + rate * seconds for rate in (line.low, line.high))
        errors.append(abs(line.level + line.slope * seconds - true) / reach)
        hits += min(low, high) - 3 * line.noise <= true <= max(low, high) + 3 * line.noise
    return Trial(len(errors), median(errors), hits / len(errors)) if errors else None


def _of_store(evidence: Evidence, store: _Store) -> Iterator[Forecast]:
    for curve in evidence.curve(store.level, "min"):
        told = store.limit(evidence, curve)
        limit = told or store.default
        if not limit:
            continue
        line = steady(evidence, curve)
        ends = line.seconds_to(limit) if line else None
        if ends and ends[0] > _HORIZON_SECONDS:
            ends = None
        if curve.value >= limit:
            ends = _USED_UP
        names = (curve.labels.get(name, "") for name in ("instance", "gpu", "device", "mountpoint"))
        subject = " ".join(name for name in names if name)
        trial = tried(curve.points) if ends not in (None, _USED_UP) else None
        yield Forecast(store.what, subject, curve.value, limit, store.unit, ends, trial, not told)


def _budget(name: str, spent: float, burn: float, missed: float) -> Forecast:
    left, ends = 1 - spent, None
    if burn > 0 and missed >= _FEWEST_MISSED and left > 0:
        reach = 1.96 / sqrt(missed)
        expected = left * DAYS * _DAY / burn
        ends = (expected, expected / (1 + reach), expected / max(1e-9, 1 - reach))
        ends = None if expected > _HORIZON_SECONDS else ends
    elif left <= 0:
        ends = _USED_UP
    return Forecast("error budget", name, spent, 1.0, "ratio", ends)
