"""Old names of metrics: recording rules give them the values of the new ones, for one version.

A row is added here when a metric or a recording gets another name, and deleted when `until` is
released.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from safelight.metrics.metric import Kind, Metric
from safelight.metrics.promql import Queries
from safelight.rules.recording import HTTP_FAILED
from safelight.rules.rule import Group, Recording

_ENDS = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.SUMMARY: ("_sum", "_count")}
_SECONDS = 15  # between evaluations, as Prometheus scrapes


@dataclass(frozen=True, slots=True)
class OldName:
    """A name and what it became: a metric of the catalogue, or an expression.

    The name of a metric is written as in the catalogue, without the namespace of the service.
    `until` is the first version without it.
    """

    name: str
    new: Metric | Callable[[Queries], str]
    until: str

    def recordings(self, queries: Queries) -> Iterator[Recording]:
        """Yield the rules that keep this name: one for each name that Prometheus stores."""
        if not isinstance(self.new, Metric):
            yield Recording(self.name, self.new(queries))
            return
        full = self.new.full_name(queries.namespace)
        old = full.removesuffix(self.new.name) + self.name
        for end in _ENDS.get(self.new.kind, ("",)):
            yield Recording(old + end, queries.select(self.new, suffix=end))


OLD_NAMES = (
    # Failures are counted by route since 0.1.0.
    OldName(
        "job:http_requests_errors:increase15m", lambda _: f"sum by (job) ({HTTP_FAILED})", "0.2.0"
    ),
)


def renamed_groups(namespace: str, rows: tuple[OldName, ...] = OLD_NAMES) -> tuple[Group, ...]:
    """Return the group that keeps the old names of a service; none without old names."""
    queries = Queries(namespace)
    rules = tuple(rule for row in rows for rule in row.recordings(queries))
    return (Group(f"{namespace}-renamed", rules, _SECONDS),) if rules else ()
