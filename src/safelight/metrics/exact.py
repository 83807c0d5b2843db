"""Queries whose numbers of events equal the counters."""

import re
from dataclasses import dataclass, replace

from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries

_GAP = "5m"  # a series that had a sample so long before a window is not new in it
_FIRST_SCRAPE_SECONDS = 60  # from the start of a process until it is scraped
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(window: str) -> int:
    """Return the seconds of a window such as `5m` or `1m15s`."""
    parts = re.findall(r"(\d+)([smhd])", window)
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


@dataclass(frozen=True)
class ExactQueries(Queries):
    """Queries whose numbers of events equal the counters, also for the first events of a series.

    `increase` ignores the value with which a series begins: 2 of 18 requests can be missing. Here
    the number is the last value in the window minus the last one before it. A series without a
    value before the window counts from 0: it is new, or its process started in the window. The
    series of a target that is newly scraped, after a gap or by a new Prometheus, do not count until
    the next window. With `resets`, what a process counted in the window before it was restarted is
    included, and series of such targets have their `increase`; that makes a query slower.
    """

    resets: bool = False

    def _increase(self, selector: str) -> str:
        within, last, before = self._values(selector)
        counted = f"{last} - {before} >= 0 or {last} {self._known}"
        if not self.resets:
            return counted
        return f"increase({within}) and resets({within}) > 0 or {counted} or increase({within})"

    def _growth(self, selector: str) -> str:
        """Return terms whose sum is the increase, unless a restart is not in the process's start.

        It reads the series twice instead of three times, which matters for buckets.
        """
        _, last, before = self._values(selector)
        # A negative value has no name, so that both are in the sum.
        negative = f"-({before} unless on (job, instance) {self._started()})"
        return f"{last} {self._known} or on (__name__) {negative}"

    def _values(self, selector: str) -> tuple[str, str, str]:
        """Return the range of a series, its last value, and its last value before the range."""
        within = f"{selector}[{self.window}]"
        before = f"last_over_time({selector}[{_GAP}] offset {self.window})"
        return within, f"last_over_time({within})", before

    @property
    def _known(self) -> str:
        """Return the condition that a series without an earlier value began at 0."""
        return f"unless on (job, instance) {self._newly_scraped()}"

    def _newly_scraped(self) -> str:
        """Return the targets that were not scraped before the window although they were running."""
        up = self._of_targets.foreign("up")
        before = f"max_over_time({up}[{_GAP}] offset {self.window}) == 1"
        started = self._started(_FIRST_SCRAPE_SECONDS)
        return f"({up} == 1 unless on (job, instance) ({before} or {started}))"

    def _started(self, earlier: int = 0) -> str:
        """Return the targets whose process started in the window, or some seconds earlier."""
        start = self._of_targets.foreign("process_start_time_seconds")
        return f"(time() - {start} < {self._seconds()} + {earlier})"

    @property
    def _of_targets(self) -> Queries:
        chosen: dict[Label | str, str] = {
            name: value for name, value in self.matchers.items() if name in (JOB, INSTANCE)
        }
        return Queries(self.namespace, self.window, chosen)

    _events = _increase

    def rate(
        self,
        metric: Metric,
        by: tuple[Label, ...] = (),
        where: Matchers | None = None,
        window: str | None = None,
    ) -> str:
        """Return events per second of a counter, or observations per second of a histogram."""
        chosen = replace(self, window=window or self.window)
        return f"({chosen.increase(metric, by, where)} {chosen.per_second})"

    def seconds_per_second(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the increase per second of a histogram's or summary's sum."""
        return f"({self.total(metric, by, where)} {self.per_second})"

    def buckets(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the rates of a histogram's buckets, summed by `le` and by these labels."""
        names = ", ".join(("le", *(label.name for label in by)))
        growth = self._growth(self.select(metric, where, "_bucket"))
        return f"(sum by ({names}) ({growth}) >= 0) {self.per_second}"

    def quantile(
        self, q: float, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the q-quantile of a histogram; no value where nothing was observed."""
        return _known(super().quantile(q, metric, by, where))

    def mean(
        self, metric: Metric, by: tuple[Label, ...] = (), where: Matchers | None = None
    ) -> str:
        """Return the mean of a histogram's observations; no value where nothing was observed."""
        return _known(super().mean(metric, by, where))

    def success_ratio(
        self,
        successes: Metric,
        total: Metric,
        by: tuple[Label, ...] = (),
        where: Matchers | None = None,
    ) -> str:
        """Return `successes` divided by `total`, 0 to 1; no value without an event."""
        return _known(super().success_ratio(successes, total, by, where))

    def share(self, metric: Metric, where: Matchers, by: tuple[Label, ...] = ()) -> str:
        """Return the share of a counter's events with these labels; no value without an event."""
        return self.part(self.increase(metric, by, where), self.increase(metric, by))

    def part(self, events: str, total: str) -> str:
        """Return events divided by a total: 0 if there are none, no value if the total is 0."""
        return _known(f"({events} or 0 * {total}) / {total}")

    @property
    def per_second(self) -> str:
        """Return the end of an expression that divides by the window's seconds."""
        return f"/ {self._seconds()}"

    def _seconds(self) -> str:
        in_grafana = self.window.startswith("$")
        return f"({self.window}_ms / 1000)" if in_grafana else f"{seconds(self.window)}"


def _known(expression: str) -> str:
    """Return the expression without NaN, the result of a division by 0."""
    return f"({expression} >= 0)"
