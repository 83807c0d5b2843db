"""PromQL expressions of a diagnosis, made from one table of metrics.

One expression asks for all facts of one time range, so they need four requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from safelight.metrics import catalog as c
from safelight.metrics.metric import Kind, Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Queries

FACT = "fact"  # label that names the fact in a response
FAST_EDGE = "0.1"  # seconds; a bucket edge of the stages' histogram, as Prometheus writes it
UP, STARTED, RESIDENT = "up", "process_start_time_seconds", "process_resident_memory_bytes"


class Statistic(StrEnum):
    """How the samples of a series become one number."""

    VALUE = ""  # the rate of a counter, the mean of a gauge
    SUM = "sum"  # rate of a histogram's sum
    COUNT = "count"  # rate of a histogram's count
    MIN = "min"
    MAX = "max"
    LAST = "last"
    FAST = "fast"  # rate of the observations up to FAST_EDGE
    BUCKETS = "buckets"  # cumulative bucket counts since the process started


class Window(StrEnum):
    """Part of the diagnosed time range."""

    WHOLE = ""
    LAST_THIRD = "last_third"
    SECOND_HALF = "second_half"

    @property
    def divisor(self) -> int:
        """Return how many such parts make the whole window."""
        return {Window.WHOLE: 1, Window.LAST_THIRD: 3, Window.SECOND_HALF: 2}[self]


@dataclass(frozen=True, slots=True)
class Fact:
    """A metric to query: its labels, its statistics and its windows."""

    metric: Metric
    by: tuple[Label, ...] = ()
    statistics: tuple[Statistic, ...] = (Statistic.VALUE,)
    windows: tuple[Window, ...] = (Window.WHOLE,)

    def parts(self) -> Iterator[tuple[Statistic, Window]]:
        """Yield each statistic of each window."""
        return ((statistic, window) for window in self.windows for statistic in self.statistics)


def key(
    name: Metric | str, statistic: Statistic = Statistic.VALUE, window: Window = Window.WHOLE
) -> str:
    """Return the name of a fact in a response: `batch_size.count.second_half`."""
    metric = name.name if isinstance(name, Metric) else name
    return ".".join(part for part in (metric, statistic, window) if part)


_MEAN = (Statistic.SUM, Statistic.COUNT)
_BOTH = (Window.WHOLE, Window.LAST_THIRD)
_HALVES = (Window.WHOLE, Window.SECOND_HALF)

# Every metric that a check reads. Counters and histograms are queried as rates.
FACTS: tuple[Fact, ...] = (
    Fact(c.REQUESTS, (c.INSTRUCTION_TYPE, c.ERROR)),
    Fact(c.REQUESTS, windows=(Window.LAST_THIRD,)),
    Fact(c.REQUEST_SECONDS, (), _MEAN),
    Fact(c.STAGE_SECONDS, (c.STAGE,), _MEAN),
    Fact(c.QUEUED_SECONDS, (), _MEAN),
    Fact(c.IMAGES, (c.IMAGE_SIZE,), windows=_HALVES),
    Fact(c.INFERENCE_SECONDS, (c.PRECISION,), _MEAN, _HALVES),
    Fact(c.STEP_SECONDS, (c.STEP,), _MEAN, _HALVES),
    Fact(c.GUIDANCE_OVERRIDDEN, (c.PARAMETER,)),
    Fact(c.WARM_UPS),
    Fact(c.BATCH_SIZE, (c.STOP,), _MEAN, _HALVES),
    Fact(c.REJECTED, (c.REJECTION,)),
    Fact(c.WORKER_RESTARTS, (c.RESTART,)),
    Fact(c.DEVICE_SECONDS, (c.USE,), windows=_BOTH),
    Fact(c.OUTPUT_INVALID, (c.INVALIDITY,)),
    Fact(c.BACKGROUNDS, (c.BACKGROUND, c.OUTCOME)),
    Fact(c.QUALITY_SCORE, (c.INSTRUCTION_TYPE,), _MEAN, _HALVES),
    Fact(c.USER_RATING, (c.INSTRUCTION_TYPE,), _MEAN),
    Fact(c.CANARY_WORKERS, (c.MODEL_STATE,), (Statistic.LAST,)),
    Fact(c.CANARY_DRIFT, (), (Statistic.MAX,)),
    Fact(c.READINESS_FORCED, (), (Statistic.LAST,)),
    Fact(c.RECORDS, (c.KEPT,)),
    Fact(c.LOG_LINES_LOST),
    Fact(c.QUEUE_DEPTH, (), (Statistic.VALUE, Statistic.MAX)),
    Fact(c.REQUEST_TIMEOUT, (), (Statistic.LAST,)),
    Fact(c.BATCH_LIMIT, (), (Statistic.VALUE, Statistic.LAST)),
    Fact(c.BATCH_SPEEDUP),
    Fact(c.WORKERS_READY, (), (Statistic.VALUE, Statistic.MIN)),
    Fact(c.MODEL_ASLEEP, (), (Statistic.MAX,)),
    Fact(c.CIRCUIT_OPEN, (), (Statistic.MAX,)),
    Fact(c.VRAM_USED, (c.DEVICE,), (Statistic.MAX,)),
    Fact(c.VRAM_RESERVED, (c.DEVICE,), windows=_BOTH),
    Fact(c.MODEL_INFO, (c.PRECISION, c.DEVICE)),
    Fact(c.GPU_UTILIZATION, (c.GPU,), windows=_BOTH),
    Fact(c.GPU_MEMORY_USED, (c.GPU,), windows=_BOTH),
    Fact(c.GPU_MEMORY_TOTAL, (c.GPU,)),
    Fact(c.GPU_TEMPERATURE, (c.GPU,), windows=(Window.LAST_THIRD,)),
    Fact(c.GPU_CLOCK, (c.GPU, c.CLOCK)),
    Fact(c.GPU_THROTTLED, (c.GPU, c.THROTTLE), windows=_BOTH),
    Fact(c.HTTP_LAG, (), _MEAN),
    Fact(c.HOST_CPU, windows=_BOTH),
    Fact(c.HOST_MEMORY_USED, (), (Statistic.LAST,)),
    Fact(c.HOST_MEMORY_TOTAL),
    Fact(c.HOST_DISK_BUSY, (c.DISK,), windows=_BOTH),
    Fact(c.HOST_FILESYSTEM_USED, (c.MOUNTPOINT,), (Statistic.LAST,)),
    Fact(c.HOST_FILESYSTEM_SIZE, (c.MOUNTPOINT,)),
    Fact(c.PROBE_TIMESTAMP, (c.PROBE,), (Statistic.LAST,)),
)
# Levels over hours, for leaks and forecasts. The minimum of each step removes short peaks.
CURVES: tuple[Fact, ...] = (
    Fact(c.VRAM_USED, (c.DEVICE,), (Statistic.MIN,)),
    Fact(c.VRAM_RESERVED, (c.DEVICE,), (Statistic.MIN,)),
    Fact(c.GPU_MEMORY_USED, (c.GPU,), (Statistic.MIN,)),
    Fact(c.HOST_MEMORY_USED, (), (Statistic.MIN,)),
    Fact(c.HOST_FILESYSTEM_USED, (c.MOUNTPOINT,), (Statistic.MIN,)),
    Fact(c.QUEUED_WORK, (), (Statistic.MIN,)),
)
_OVER_TIME = {
    Statistic.VALUE: "avg_over_time",
    Statistic.LAST: "last_over_time",
    Statistic.MIN: "min_over_time",
    Statistic.MAX: "max_over_time",
}


@dataclass(frozen=True, slots=True)
class FactQueries:
    """Expressions for one service: a namespace and a scrape job."""

    namespace: str
    job: str
    queries: Queries = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", Queries(self.namespace, matchers={JOB: self.job}))

    def instant(self, window_seconds: int, offset_seconds: int = 0) -> str:
        """Return the expression of all facts over a window that ended `offset_seconds` ago."""
        offset = f" offset {offset_seconds}s" if offset_seconds else ""
        parts = [
            _labelled(
                key(fact.metric, statistic, window),
                self._over(
                    fact.metric, statistic, f"[{window_seconds // window.divisor}s]{offset}"
                ),
                fact.by,
            )
            for fact in FACTS
            for statistic, window in fact.parts()
            if not (offset_seconds and window is Window.SECOND_HALF)
        ]
        span = f"[{window_seconds}s]{offset}"
        return " or ".join((*parts, *self._extra(span), *self._buckets(offset)))

    def curves(self, step_seconds: int) -> str:
        """Return the expression of all curves; each point covers its own step."""
        span = f"[{step_seconds}s]"
        rows = [
            _labelled(
                key(fact.metric, statistic), self._over(fact.metric, statistic, span), fact.by
            )
            for fact in CURVES
            for statistic, _ in fact.parts()
        ]
        resident = f"min_over_time({self.queries.foreign(RESIDENT)}{span})"
        started = f"max_over_time({self.queries.foreign(STARTED)}{span})"
        return " or ".join((*rows, _named(RESIDENT, resident), _named(STARTED, started)))

    def _over(self, metric: Metric, statistic: Statistic, span: str) -> str:
        if metric.kind is Kind.HISTOGRAM:
            return f"rate({self.queries.select(metric, suffix=f'_{statistic}')}{span})"
        function = "rate" if metric.kind is Kind.COUNTER else _OVER_TIME[statistic]
        return f"{function}({self.queries.select(metric)}{span})"

    def _extra(self, span: str) -> Iterator[str]:
        """Yield the facts that are no row of the table: fast stages and Prometheus' own series."""
        up, started = self.queries.foreign(UP), self.queries.foreign(STARTED)
        fast = self.queries.select(c.STAGE_SECONDS, {"le": FAST_EDGE}, "_bucket")
        yield _labelled(key(c.STAGE_SECONDS, Statistic.FAST), f"rate({fast}{span})", (c.STAGE,))
        yield _labelled(UP, f"avg_over_time({up}{span})")
        yield _labelled(key(UP, Statistic.LAST), f"last_over_time({up}{span})")
        yield _labelled(STARTED, f"last_over_time({started}{span})")

    def _buckets(self, offset: str) -> Iterator[str]:
        """Yield the buckets of past scores as counts: their rate would cost far more to compute."""
        if offset:
            scores = self.queries.select(c.QUALITY_SCORE, suffix="_bucket")
            counts = f"sum by ({c.INSTRUCTION_TYPE.name}, le) ({scores}{offset})"
            yield _named(key(c.QUALITY_SCORE, Statistic.BUCKETS), counts)


def _labelled(name: str, inner: str, by: tuple[Label, ...] = ()) -> str:
    labels = ", ".join(label.name for label in (INSTANCE, *by))
    return _named(name, f"sum by ({labels}) ({inner})")


def _named(name: str, inner: str) -> str:
    return f'label_replace({inner}, "{FACT}", "{name}", "", "")'


def series_names(namespace: str) -> set[str]:
    """Return the names of all series that a diagnosis of a namespace can query."""
    suffixes = {Kind.HISTOGRAM: ("_sum", "_count")}
    names = {
        fact.metric.full_name(namespace) + suffix
        for fact in (*FACTS, *CURVES)
        for suffix in suffixes.get(fact.metric.kind, ("",))
    }
    buckets = {f"{m.full_name(namespace)}_bucket" for m in (c.STAGE_SECONDS, c.QUALITY_SCORE)}
    return names | buckets | {c.SERVICE_INFO.name, UP, STARTED, RESIDENT}
