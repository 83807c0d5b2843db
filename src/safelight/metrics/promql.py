"""Build PromQL expressions from metrics of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from safelight.metrics.catalog import SERVICE_INFO
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import Kind, Label, Metric

Matchers = Mapping[Label | str, str]

# Labels that Prometheus adds to every scraped series.
JOB = Label("job", "Scrape job of the target.")
INSTANCE = Label("instance", "Address of the target.")


@dataclass(frozen=True, slots=True)
class Queries:
    """Builder of expressions for the service of one namespace.

    Every selector contains `matchers`, such as a job. A value that starts with `~` is a regular
    expression, and one that starts with `!` is excluded.
    """

    namespace: str
    window: str = "5m"
    matchers: Matchers = field(default_factory=dict)
    prefix: str = ""  # of the metrics without a namespace

    def select(self, metric: Metric, where: Matchers | None = None, suffix: str = "") -> str:
        """Return the metric's selector, with these matchers and those of the builder."""
        name = metric.full_name(self.namespace)
        prefix = "" if name.startswith(f"{self.namespace}_") else self.prefix
        return prefix + name + suffix + self._braces(where)

    def rate(
        self,
        metric: Metric,
        by: tuple[Label, ...] = (),
        where: Matchers | None = None,
        window: str | None = None,
    ) -> str:
        """Return events per second of a counter, or observations per second of a histogram."""
        selector = self.select(metric, where, _counted(metric))
        return _sum(f"rate({selector}[{window or self.window}])", by)

    def increase(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the events of a counter, or observations of a histogram, within the window."""
        return _sum(self._increase(self.select(metric, where, _counted(metric))), by)

    def total(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the increase of a histogram's or summary's sum within the window."""
        return _sum(self._increase(self.select(metric, where, "_sum")), by)

    def quantile(
        self, q: float, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the q-quantile of a histogram, in the metric's unit."""
        return f"histogram_quantile({q:g}, {self.buckets(metric, by, where)})"

    def buckets(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the rates of a histogram's buckets, summed by `le` and by these labels."""
        names = ", ".join(("le", *(label.name for label in by)))
        return f"sum by ({names}) (rate({self.select(metric, where, '_bucket')}[{self.window}]))"

    def bucket_counts(self, metric: Metric) -> str:
        """Return the number of observations of a histogram within the window, by bucket."""
        return f"sum by (le) ({self._increase(self.select(metric, suffix='_bucket'))})"

    def mean(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the mean of a histogram's observations within the window."""
        total = _sum(self._events(self.select(metric, where, "_sum")), by)
        return f"{total} / {self._flow(metric, by, where)}"

    def seconds_per_second(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the increase per second of a histogram's or summary's sum."""
        return _sum(f"rate({self.select(metric, where, '_sum')}[{self.window}])", by)

    def late_share(
        self, metric: Metric, interval_seconds: float, by: tuple[Label, ...] = ()
    ) -> str:
        """Return the share of time by which a timer was late, from the histogram of its delays."""
        late = self.seconds_per_second(metric, by)
        return f"{late} / ({late} + {interval_seconds:g} * {self.rate(metric, by)})"

    def success_ratio(
        self,
        successes: Metric,
        total: Metric,
        by: tuple[Label, ...] = (),
        where: Matchers | None = None,
    ) -> str:
        """Return `successes` divided by `total`, 0 to 1; 0 if none ever succeeded."""
        events = self._flow(total, by, where)
        return f"({self._flow(successes, by, where)} or 0 * {events}) / {events}"

    def share(self, metric: Metric, where: Matchers, by: tuple[Label, ...] = ()) -> str:
        """Return the share of a counter's events that have these labels, 0 to 1."""
        return f"{self._flow(metric, by, where)} / {self._flow(metric, by)}"

    def fraction(self, part: Metric, total: Metric) -> str:
        """Return one gauge divided by another with the same labels."""
        return f"{self.select(part)} / {self.select(total)}"

    def age(self, metric: Metric) -> str:
        """Return the seconds since the timestamp in a gauge."""
        return f"time() - {self.select(metric)}"

    def trend(self, metric: Metric) -> str:
        """Return a gauge's change per second, by a linear regression over the window."""
        return f"deriv({self.select(metric)}[{self.window}])"

    def forecast(self, metric: Metric, ahead_seconds: int) -> str:
        """Return the forecast of a gauge, by a linear regression over the window."""
        return f"predict_linear({self.select(metric)}[{self.window}], {ahead_seconds})"

    def service(self) -> str:
        """Return the selector of `safelight_service_info`: one series for each target."""
        return self.select(SERVICE_INFO, {"namespace": self.namespace})

    def foreign(self, name: str, where: Matchers | None = None) -> str:
        """Return the selector of another program's metric. Raises ValueError if it is unknown."""
        if name not in FOREIGN:
            raise ValueError(f"{name!r} is not in foreign.FOREIGN. Add it there first.")
        return name + self._braces(where)

    def recorded(self, name: str, where: Matchers | None = None) -> str:
        """Return the selector of a recorded name or of `ALERTS`; an empty name selects any."""
        return name + self._braces(where)

    def _flow(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return a part of a ratio: the events of a counter, or observations of a histogram."""
        return _sum(self._events(self.select(metric, where, _counted(metric))), by)

    def _events(self, selector: str) -> str:
        """Return the events of each series, in a unit that a ratio cancels."""
        return f"rate({selector}[{self.window}])"

    def _increase(self, selector: str) -> str:
        return f"increase({selector}[{self.window}])"

    def _braces(self, where: Matchers | None) -> str:
        matchers = {
            _name(label): value for label, value in {**self.matchers, **(where or {})}.items()
        }
        text = ", ".join(_matcher(name, value) for name, value in matchers.items())
        return f"{{{text}}}" if text else ""


def copied(expression: str, source: Label, target: str, pattern: str = "(.*)") -> str:
    """Return the expression with a new label: the first group of a pattern in another label."""
    return f'label_replace({expression}, "{target}", "$1", "{source.name}", "{pattern}")'


def _counted(metric: Metric) -> str:
    """Return the suffix of the series that counts a metric's events."""
    return "_count" if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else ""


def _sum(expression: str, by: tuple[Label, ...]) -> str:
    names = ", ".join(label.name for label in by)
    return f"sum by ({names}) ({expression})" if by else f"sum({expression})"


def _name(label: Label | str) -> str:
    return label.name if isinstance(label, Label) else label


def _matcher(name: str, value: str) -> str:
    operator = "="
    if value.startswith("!~"):
        operator, value = "!~", value[2:]
    elif value.startswith("~"):
        operator, value = "=~", value[1:]
    elif value.startswith("!"):
        operator, value = "!=", value[1:]
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}{operator}"{escaped}"'
