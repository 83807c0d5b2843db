"""Read the pending and firing alerts of a service from Prometheus, with values and limits.

Without alert rules in Prometheus there are none. A diagnosis then has the checks' findings only.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from safelight.diagnosis.comparison import Comparison, comparison
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.queries import FACT, UP
from safelight.errors import MonitoringFailed
from safelight.metrics.catalog import SERVICE_INFO
from safelight.metrics.promql import INSTANCE, JOB, Matchers, Queries
from safelight.rules.alerts import alert_groups
from safelight.rules.machines import MACHINE, NODE
from safelight.rules.rule import Alert, Scope
from safelight.rules.thresholds import Thresholds

MACHINE_WIDE = frozenset({Scope.GPU, Scope.HOST})
_STATE, _SINCE, _SERVICES, _INSTANCES, _LIMIT = "state", "since", "services", "instances", "limit"
_NAME, _STATE_LABEL, _SEVERITY, _SERVICE = "alertname", "alertstate", "severity", "service"
_ADDED = frozenset({_NAME, _STATE_LABEL, _SEVERITY, _SERVICE, FACT, "__name__"})
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One pending or firing series of an alert. `labels` are those of its expression."""

    alert: Alert
    labels: Labels
    severity: str
    is_firing: bool
    since: float
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """What decides whether an alert belongs to a service."""

    job: str
    hosts: frozenset[str]
    other_jobs: frozenset[str]  # of other services

    def has(self, alert: Alert, labels: Labels) -> bool:
        """Return True if an alert with these labels is about the service or its machines.

        Jobs without a service are monitoring: exporters, Prometheus, Alertmanager, the relay.
        """
        job = labels.get(JOB.name, "")
        if alert.scope is Scope.SERVICE:
            return job in ("", self.job) and labels.get(_SERVICE) == alert.service
        if job == self.job:
            return True
        if alert.scope in MACHINE_WIDE:
            return machine_of(labels) in self.hosts
        return alert.scope is Scope.MONITORING and job not in self.other_jobs


def read_alerts(
    prometheus: Prometheus, namespace: str, job: str, at: float, limits: Thresholds
) -> tuple[ActiveAlert, ...]:
    """Return the alerts of severity warning or above. Raises MonitoringFailed.

    Takes one request, and a second one if an alert is active.
    """
    groups = alert_groups(namespace, limits)
    known = {alert.name: alert for group in groups for alert in group.alerts}
    rows = prometheus.instant(states_query(namespace, job, known), at)
    active = _active(rows, known, job)
    if not active:
        return ()
    compared = {each.alert.name: comparison(each.alert.expr) for each in active}
    try:
        values = prometheus.instant(_values_query(active, compared), at)
    except MonitoringFailed:  # a rule that cannot be evaluated: RulesFailing reports it
        values = []
    return tuple(_with_value(each, compared[each.alert.name], values) for each in active)


def machine_of(labels: Labels) -> str:
    """Return the machine of an alert: its label, or the host of its instance."""
    return labels.get(MACHINE.name) or host_of(labels.get(INSTANCE.name, ""))


def host_of(instance: str) -> str:
    """Return an instance's host: programs on one machine differ in their ports."""
    return instance.rpartition(":")[0] or instance


def states_query(namespace: str, job: str, names: Iterable[str]) -> str:
    """Return the expression of all active alerts of these names, and of what says whose they are.

    In a cluster the label `service` of alerts on machines is that of their target.
    """
    queries = Queries(namespace)
    where: Matchers = {_SEVERITY: "~warning|critical", _NAME: f"~{'|'.join(names)}"}
    info = queries.select(SERVICE_INFO)
    up = queries.foreign(UP, {JOB: job})
    parts = {
        _STATE: queries.recorded("ALERTS", where),
        _SINCE: queries.recorded("ALERTS_FOR_STATE", where),
        _SERVICES: f"count by (job) (last_over_time({info}[1d]))",
        _INSTANCES: f"count by (instance, node) (last_over_time({up}[1h]))",
    }
    return " or ".join(_labelled(expr, FACT, fact) for fact, expr in parts.items())


def _active(
    rows: Iterable[Series], known: Mapping[str, Alert], job: str
) -> tuple[ActiveAlert, ...]:
    facts: dict[str, list[Series]] = {}
    for row in rows:
        facts.setdefault(row.labels.get(FACT, ""), []).append(row)
    jobs = {row.labels.get(JOB.name, "") for row in facts.get(_SERVICES, ())}
    hosts = {
        row.labels.get(NODE.name) or host_of(row.labels.get(INSTANCE.name, ""))
        for row in facts.get(_INSTANCES, ())
    }
    place = _Place(job, frozenset(hosts), frozenset(jobs - {job}))
    since = {_identity(row.labels): row.value for row in facts.get(_SINCE, ())}
    return tuple(
        ActiveAlert(
            known[name],
            _own(row.labels),
            row.labels[_SEVERITY],
            row.labels.get(_STATE_LABEL) == "firing",
            since.get(_identity(row.labels), row.points[-1][0]),
        )
        for row in facts.get(_STATE, ())
        if (name := row.labels.get(_NAME, "")) in known and place.has(known[name], row.labels)
    )


def _values_query(active: Sequence[ActiveAlert], compared: Mapping[str, Comparison | None]) -> str:
    """Return the expression of the values, and of those limits that are no numbers."""
    alerts = {each.alert.name: each.alert for each in active}
    parts = [_labelled(f"({alert.expr})", _NAME, name) for name, alert in alerts.items()]
    for name, found in compared.items():
        if found and found.number is None:
            parts.append(_labelled(_labelled(f"({found.limit})", _NAME, name), FACT, _LIMIT))
    return " or ".join(parts)


def _with_value(
    active: ActiveAlert, found: Comparison | None, values: Sequence[Series]
) -> ActiveAlert:
    mine = [row for row in values if row.labels.get(_NAME) == active.alert.name]

    def first(fact: str | None, matches: Callable[[Labels, Labels], bool]) -> float | None:
        rows = (row for row in mine if row.labels.get(FACT) == fact)
        return next((row.value for row in rows if matches(_own(row.labels), active.labels)), None)

    limit = found.number if found else None
    if found and limit is None:
        limit = first(_LIMIT, _agree)
    return replace(active, value=first(None, lambda one, other: one == other), limit=limit)


def _agree(one: Labels, other: Labels) -> bool:
    """Return True if both have the same value for each label that both have."""
    return all(other[name] == value for name, value in one.items() if name in other)


def _own(labels: Labels) -> dict[str, str]:
    """Return the labels of an alert's expression, without those that its rule adds."""
    return {name: value for name, value in labels.items() if name not in _ADDED}


def _identity(labels: Labels) -> frozenset[tuple[str, str]]:
    """Return what the series of an alert's state and of its beginning have in common."""
    ours = {**_own(labels), _NAME: labels.get(_NAME, ""), _SEVERITY: labels.get(_SEVERITY, "")}
    return frozenset(ours.items())


def _labelled(expression: str, label: str, value: str) -> str:
    return f'label_replace({expression}, "{label}", "{value}", "", "")'
