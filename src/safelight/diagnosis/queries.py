"""What a diagnosis asks of Prometheus: a table of metrics, made into one expression a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from safelight.metrics import catalog as c
from safelight.metrics.metric import Kind, Label, Metric
from safelight.metrics.promql import JOB, Queries

FACT = "fact"  # the label that tells one answer of an expression from another
QUICK = "quick"  # stages that took no longer than the edge below
SLOW_EDGE = "0.1"  # seconds, as Prometheus writes the bucket
BELOW = "below"  # how many scores there ever were up to each edge of their histogram
LATELY, HALF = "lately", "half"  # over the last third of the window alone, or its later half
LATELY_PARTS, HALVES = 3, 2


@dataclass(frozen=True, slots=True)
class Fact:
    """A metric to ask for, by which of its labels; `parts` say over what: mean, last, least."""

    metric: Metric
    by: tuple[Label, ...] = ()
    parts: tuple[str, ...] = ("",)

    def key(self, part: str = "") -> str:
        """Return what the fact is called among the answers."""
        return f"{self.metric.name}.{part}" if part else self.metric.name


def fact(metric: Metric, *by: Label, parts: tuple[str, ...] = ("",)) -> Fact:
    """Return the row of a metric."""
    if metric.kind is Kind.HISTOGRAM:
        parts = tuple(f"{of}.{part}".rstrip(".") for part in parts for of in ("sum", "count"))
    return Fact(metric, by, parts)


# Every metric that a check looks at. Counters and histograms are asked as rates.
FACTS: tuple[Fact, ...] = (
    fact(c.REQUESTS, c.INSTRUCTION_TYPE, c.ERROR),
    fact(c.REQUESTS, parts=("lately",)),
    fact(c.REQUEST_SECONDS),
    fact(c.STAGE_SECONDS, c.STAGE),
    fact(c.QUEUED_SECONDS),
    fact(c.IMAGES, c.IMAGE_SIZE, parts=("", HALF)),
    fact(c.INFERENCE_SECONDS, c.PRECISION, parts=("", HALF)),
    fact(c.STEP_SECONDS, c.STEP, parts=("", HALF)),
    fact(c.GUIDANCE_OVERRIDDEN, c.PARAMETER),
    fact(c.WARM_UPS),
    fact(c.BATCH_SIZE, c.STOP, parts=("", HALF)),
    fact(c.REJECTED, c.REJECTION),
    fact(c.WORKER_RESTARTS, c.RESTART),
    fact(c.DEVICE_SECONDS, c.USE, parts=("", "lately")),
    fact(c.OUTPUT_INVALID, c.INVALIDITY),
    fact(c.BACKGROUNDS, c.BACKGROUND, c.OUTCOME),
    fact(c.QUALITY_SCORE, c.INSTRUCTION_TYPE, parts=("", HALF)),
    fact(c.USER_RATING, c.INSTRUCTION_TYPE),
    fact(c.RECORDS, c.KEPT),
    fact(c.LOG_LINES_LOST),
    fact(c.QUEUE_DEPTH, parts=("", "max")),
    fact(c.REQUEST_TIMEOUT, parts=("last",)),
    fact(c.BATCH_LIMIT, parts=("", "last")),
    fact(c.BATCH_SPEEDUP),
    fact(c.WORKERS_READY, parts=("", "min")),
    fact(c.CIRCUIT_OPEN, parts=("max",)),
    fact(c.VRAM_USED, c.DEVICE, parts=("", "max")),
    fact(c.VRAM_RESERVED, c.DEVICE, parts=("", "lately")),
    fact(c.MODEL_INFO, c.PRECISION, c.DEVICE),
    fact(c.GPU_UTILIZATION, c.GPU, parts=("", "lately")),
    fact(c.GPU_MEMORY_USED, c.GPU, parts=("", "lately")),
    fact(c.GPU_MEMORY_TOTAL, c.GPU),
    fact(c.GPU_TEMPERATURE, c.GPU, parts=("lately",)),
    fact(c.GPU_CLOCK, c.GPU, c.CLOCK),
    fact(c.GPU_THROTTLED, c.GPU, c.THROTTLE, parts=("", "lately")),
    fact(c.HOST_CPU, parts=("", "lately")),
    fact(c.HOST_MEMORY_USED, parts=("last",)),
    fact(c.HOST_MEMORY_TOTAL),
    fact(c.HOST_DISK_BUSY, c.DISK, parts=("", "lately")),
    fact(c.HOST_FILESYSTEM_USED, c.MOUNTPOINT, parts=("last",)),
    fact(c.HOST_FILESYSTEM_SIZE, c.MOUNTPOINT),
    fact(c.PROBE_TIMESTAMP, c.PROBE, parts=("last",)),
)
# What is drawn over hours: where memory goes.
CURVES: tuple[Fact, ...] = (
    fact(c.VRAM_USED, c.DEVICE, parts=("min",)),
    fact(c.VRAM_RESERVED, c.DEVICE, parts=("min",)),
    fact(c.GPU_MEMORY_USED, c.GPU, parts=("min",)),
    fact(c.GPU_MEMORY_TOTAL, c.GPU, parts=("max",)),
    fact(c.HOST_MEMORY_USED, parts=("min",)),
    fact(c.HOST_MEMORY_TOTAL, parts=("max",)),
    fact(c.HOST_FILESYSTEM_USED, c.MOUNTPOINT, parts=("min",)),
    fact(c.HOST_FILESYSTEM_SIZE, c.MOUNTPOINT, parts=("max",)),
    fact(c.QUEUED_WORK, parts=("min",)),
)
UP, STARTED, RESIDENT = "up", "process_start_time_seconds", "process_resident_memory_bytes"
_OVER_TIME = {
    "": "avg_over_time",
    LATELY: "avg_over_time",
    "last": "last_over_time",
    "min": "min_over_time",
    "max": "max_over_time",
}


@dataclass(frozen=True, slots=True)
class Asking:
    """Writes the expressions for one service: a namespace, as one job shows it."""

    namespace: str
    job: str
    queries: Queries = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", Queries(self.namespace, matchers={JOB: self.job}))

    def moment(self, window_seconds: int, offset_seconds: int = 0) -> str:
        """Return the expression of all facts over a window that ended `offset_seconds` ago."""
        back = f" offset {offset_seconds}s" if offset_seconds else ""
        spans = {
            part: f"[{window_seconds // parts}s]{back}"
            for part, parts in (("", 1), (LATELY, LATELY_PARTS), (HALF, HALVES))
        }
        parts = [
            self._named(
                row.key(part),
                self._over(row, part, spans.get(part.rpartition(".")[2], spans[""])),
                row.by,
            )
            for row in FACTS
            for part in row.parts
            if not (offset_seconds and part.endswith(HALF))
        ]
        return " or ".join((*parts, *self._own(spans[""]), *self._below(back)))

    def curves(self, step_seconds: int) -> str:
        """Return the expression of all that is drawn over hours, each point over its own step."""
        span = f"[{step_seconds}s]"
        rows = [
            self._named(row.key(part), self._over(row, part, span), row.by)
            for row in CURVES
            for part in row.parts
        ]
        resident = f"min_over_time({self.queries.foreign(RESIDENT)}{span})"
        started = f"max_over_time({self.queries.foreign(STARTED)}{span})"
        return " or ".join((*rows, _told(RESIDENT, resident), _told(STARTED, started)))

    def _over(self, row: Fact, part: str, span: str) -> str:
        if row.metric.kind is Kind.HISTOGRAM:
            suffix = f"_{part.partition('.')[0]}"
            return f"rate({self.queries.select(row.metric, suffix=suffix)}{span})"
        how = "rate" if row.metric.kind is Kind.COUNTER else _OVER_TIME[part]
        return f"{how}({self.queries.select(row.metric)}{span})"

    def _named(self, name: str, inner: str, by: tuple[Label, ...]) -> str:
        kept = ", ".join(("instance", *(label.name for label in by)))
        return _told(name, f"sum by ({kept}) ({inner})")

    def _own(self, span: str) -> Iterator[str]:
        up, started = self.queries.foreign(UP), self.queries.foreign(STARTED)
        quick = self.queries.select(c.STAGE_SECONDS, {"le": SLOW_EDGE}, "_bucket")
        stages = f"sum by (instance, {c.STAGE.name}) (rate({quick}{span}))"
        yield _told(f"{c.STAGE_SECONDS.name}.{QUICK}", stages)
        yield _told(UP, f"sum by (instance) (avg_over_time({up}{span}))")
        yield _told(f"{UP}.count", f"sum by (instance) (count_over_time({up}{span}))")
        yield _told(f"{UP}.last", f"sum by (instance) (last_over_time({up}{span}))")
        yield _told(STARTED, f"sum by (instance) (last_over_time({started}{span}))")
        resident = self.queries.foreign(RESIDENT)
        yield _told(RESIDENT, f"sum by (instance) (avg_over_time({resident}{span}))")

    def _below(self, back: str) -> Iterator[str]:
        """Yield the past's histogram of scores as it stood: a rate of it would cost far more."""
        scores = self.queries.select(c.QUALITY_SCORE, suffix="_bucket")
        below = f"sum by ({c.INSTRUCTION_TYPE.name}, le) ({scores}{back})"
        if back:
            yield _told(f"{c.QUALITY_SCORE.name}.{BELOW}", below)


def _told(name: str, inner: str) -> str:
    return f'label_replace({inner}, "{FACT}", "{name}", "", "")'


def names_asked(namespace: str) -> set[str]:
    """Return the names of all series that a diagnosis of a namespace may ask for."""
    suffixes = {Kind.HISTOGRAM: ("_sum", "_count")}
    names = {
        row.metric.full_name(namespace) + suffix
        for row in (*FACTS, *CURVES)
        for suffix in suffixes.get(row.metric.kind, ("",))
    }
    buckets = {f"{m.full_name(namespace)}_bucket" for m in (c.STAGE_SECONDS, c.QUALITY_SCORE)}
    return names | buckets | {UP, STARTED, RESIDENT}
