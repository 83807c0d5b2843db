"""What is known of one service at one time: gathered once, in four questions, then only read."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.queries import FACT, Asking
from safelight.errors import MonitoringFailed
from safelight.metrics.catalog import GUIDANCE_OVERRIDDEN, REQUEST_SECONDS
from safelight.metrics.metric import Metric

# Nobody else's metric ends so, and each service of ours shows it from its first scrape on.
_SUFFIX = f"_{GUIDANCE_OVERRIDDEN.name}"
_SHOWN = f'{{__name__=~".+{_SUFFIX}"}}'
_DAY = 86_400
_AT_ONCE = 4  # questions: Prometheus answers each on one core
Row = tuple[Mapping[str, str], float]


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One service: the namespace of its metrics, and the scrape job that shows them."""

    namespace: str
    job: str


@dataclass(frozen=True, slots=True)
class Spans:
    """Which times are compared, in seconds: the last window, what came before it, and yesterday.

    `before_seconds` lie right before the window, and as long the same time yesterday; memory is
    followed over `history_seconds`.
    """

    window_seconds: int = 300
    before_seconds: int = 3600
    history_seconds: int = 4 * 3600
    step_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """One window's figures: rates per second of what is counted, means of what is measured."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def found(self, name: Metric | str, part: str = "", **where: str) -> list[Row]:
        """Return the rows of a fact whose labels are as said."""
        wanted = where.items()
        return [row for row in self.rows.get(key(name, part), ()) if wanted <= row[0].items()]

    def sum(self, name: Metric | str, part: str = "", **where: str) -> float | None:
        """Return the sum of a fact's rows, or None where there is none."""
        found = self.found(name, part, **where)
        return sum(value for _, value in found) if found else None

    def rate(self, name: Metric | str, part: str = "", **where: str) -> float:
        """Return events per second, 0 where none was ever counted."""
        return self.sum(name, part, **where) or 0.0

    def by(self, label: str, name: Metric | str, part: str = "", **where: str) -> dict[str, float]:
        """Return a fact's sums by the values of one label."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self.found(name, part, **where):
            sums[labels.get(label, "")] += value
        return dict(sums)

    def mean(self, histogram: Metric, part: str = "", **where: str) -> float | None:
        """Return the mean of a histogram's observations, or None where there was none."""
        total, count = (self.rate(histogram, key(each, part), **where) for each in ("sum", "count"))
        return total / count if count > 0 else None

    def means(
        self, label: str, histogram: Metric, part: str = "", **where: str
    ) -> dict[str, float]:
        """Return the means of a histogram's observations by the values of one label."""
        sums, counts = (
            self.by(label, histogram, key(each, part), **where) for each in ("sum", "count")
        )
        return {name: sums.get(name, 0.0) / n for name, n in counts.items() if n > 0}

    def level(self, gauge: Metric | str, part: str = "", **where: str) -> float | None:
        """Return the mean of a gauge's series, or None where there is none."""
        found = self.found(gauge, part, **where)
        return sum(value for _, value in found) / len(found) if found else None

    def most(self, gauge: Metric | str, part: str = "", **where: str) -> float | None:
        """Return the largest of a gauge's series."""
        return max((value for _, value in self.found(gauge, part, **where)), default=None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the checks may look at."""

    service: Service
    at: float
    spans: Spans
    now: Reading
    before: Reading = field(default_factory=Reading)
    yesterday: Reading = field(default_factory=Reading)
    curves: Mapping[str, Sequence[Series]] = field(default_factory=dict)

    @property
    def asking(self) -> Asking:
        """Return what writes expressions for this service."""
        return Asking(self.service.namespace, self.service.job)

    @property
    def requests(self) -> float:
        """Return how many requests ended within the window."""
        return self.now.rate(REQUEST_SECONDS, "count") * self.spans.window_seconds

    def curve(self, name: Metric | str, part: str = "", **where: str) -> list[Series]:
        """Return the curves of a fact whose labels are as said."""
        wanted = where.items()
        return [s for s in self.curves.get(key(name, part), ()) if wanted <= s.labels.items()]


def key(name: Metric | str, part: str = "") -> str:
    """Return what a fact is called among the answers."""
    whole = name.name if isinstance(name, Metric) else name
    return f"{whole}.{part}" if part else whole


def services(prometheus: Prometheus, at: float, spans: Spans | None = None) -> list[Service]:
    """Return the services that showed metrics of ours lately. Raises MonitoringFailed."""
    back = (spans or Spans()).history_seconds
    rows = prometheus.shown(_SHOWN, at - back, at)
    return sorted(
        {Service(row["__name__"].removesuffix(_SUFFIX), row["job"]) for row in rows if "job" in row}
    )


def only(found: Iterable[Service], wanted: str | None) -> list[Service]:
    """Return the services of a name, which is a job or a namespace; all without one.

    Raises MonitoringFailed, saying which there are, where none has the name.
    """
    known = list(found)
    chosen = [s for s in known if wanted in (None, s.job, s.namespace)]
    if chosen:
        return chosen
    if not known:
        raise MonitoringFailed(
            "Prometheus knows no service with metrics of Safelight at that time. Is it scraped? "
            "See the page Status > Targets; and that a first request was answered."
        )
    names = ", ".join(sorted({s.job for s in known})[:20])
    raise MonitoringFailed(f"Prometheus knows no service {str(wanted)[:60]!r}; it has {names}.")


def gather(
    prometheus: Prometheus, service: Service, at: float, spans: Spans | None = None
) -> Evidence:
    """Ask all that a diagnosis needs of one service, all at once. Raises MonitoringFailed."""
    spans = spans or Spans()
    asking = Asking(service.namespace, service.job)
    window, before = spans.window_seconds, spans.before_seconds
    step, begin = spans.step_seconds, at - spans.history_seconds
    asked = (asking.moment(window), asking.moment(before, window), asking.moment(before, _DAY))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        curves = pool.submit(prometheus.curve, asking.curves(step), begin, at, step)
        readings = [pool.submit(prometheus.instant, query, at) for query in asked]
        now, then, yesterday = (reading(each.result()) for each in readings)
        return Evidence(service, at, spans, now, then, yesterday, _by_fact(curves.result()))


def reading(answer: Sequence[Series]) -> Reading:
    """Return an answer as a reading."""
    return Reading(
        {
            name: [(series.labels, series.value) for series in found]
            for name, found in _by_fact(answer).items()
        }
    )


def _by_fact(answer: Iterable[Series]) -> dict[str, list[Series]]:
    def fact(series: Series) -> str:
        return series.labels.get(FACT, "")

    return {name: list(found) for name, found in groupby(sorted(answer, key=fact), key=fact)}
