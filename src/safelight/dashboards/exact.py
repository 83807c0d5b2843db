"""Queries of dashboards, whose numbers of events equal the counters."""

from dataclasses import dataclass, replace

from safelight.dashboards.variables import seconds
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries

_GAP = "5m"  # a series that had a sample so long before a window is not new in it
_FIRST_SCRAPE_SECONDS = 60  # from the start of a process until it is scraped


@dataclass(frozen=True)
class ExactQueries(Queries):
    """Queries whose numbers of events equal the counters, also for the first events of a series.

    `increase` ignores the value with which a series begins: 2 of 18 requests can be missing. Here
    a series that is new in the window counts from 0, if its target was scraped before the window or
    its process started in it; else it has no value until the next window. A counter that is lower
    than before the window counts from 0. With `resets`, what a process counted in the window before
    it was restarted is included, and series of unknown targets have their `increase`; that makes a
    query slower.
    """

    resets: bool = False

    def _increase(self, selector: str) -> str:
        within = f"{selector}[{self.window}]"
        last = f"last_over_time({within})"
        before = f"last_over_time({selector}[{_GAP}] offset {self.window})"
        counted = f"({last} - {before} >= 0 or {last} and on (job, instance) {self._observed()})"
        if not self.resets:
            return counted
        return f"increase({within}) and resets({within}) > 0 or {counted} or increase({within})"

    def _observed(self) -> str:
        """Return the targets whose series begin at 0 if they are new in the window."""
        targets: Matchers = {
            name: self.matchers[name] for name in (JOB, INSTANCE) if name in self.matchers
        }
        of_targets = Queries(self.namespace, self.window, targets)
        scraped = f"max_over_time({of_targets.foreign('up')}[{_GAP}] offset {self.window}) == 1"
        age = f"time() - {of_targets.foreign('process_start_time_seconds')}"
        return f"({scraped} or {age} < {self._seconds()} + {_FIRST_SCRAPE_SECONDS})"

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
        within = self._increase(self.select(metric, where, "_bucket"))
        return f"sum by ({names}) ({within}) {self.per_second}"

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
