"""All alerts of a service, in groups."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.promql import Queries
from safelight.rules.correctness import GOLDEN_ALERTS
from safelight.rules.engine import ENGINE_ALERTS
from safelight.rules.gpu import GPU_ALERTS
from safelight.rules.growth import GROWTH_ALERTS
from safelight.rules.host import HOST_ALERTS
from safelight.rules.monitoring import MONITOR_ALERTS
from safelight.rules.objectives import OBJECTIVE_ALERTS
from safelight.rules.outputs import OUTPUT_ALERTS
from safelight.rules.process import PROCESS_ALERTS
from safelight.rules.rule import Alert, Group, Scope
from safelight.rules.service import SERVICE_ALERTS
from safelight.rules.thresholds import Change, Thresholds
from safelight.rules.watcher import WATCHER_ALERTS
from safelight.rules.workers import WORKER_ALERTS

_Table = tuple[Callable[[Queries, Thresholds], Alert], ...]
_TABLES: dict[str, _Table] = {
    "objectives": OBJECTIVE_ALERTS,
    "service": SERVICE_ALERTS,
    "outputs": OUTPUT_ALERTS,
    "canary": GOLDEN_ALERTS,
    "engine": ENGINE_ALERTS,
    "workers": WORKER_ALERTS,
    "gpus": (*GPU_ALERTS, *GROWTH_ALERTS),
    "host": HOST_ALERTS,
    "process": PROCESS_ALERTS,
    "watcher": WATCHER_ALERTS,
    "monitoring": MONITOR_ALERTS,
}


def alert_groups(namespace: str, limits: Thresholds | None = None) -> tuple[Group, ...]:
    """Return the alerts of a service with this namespace."""
    limits = limits or Thresholds()
    return tuple(
        Group(f"{namespace}-{name}", _alerts(table, Queries(namespace), limits))
        for name, table in _TABLES.items()
    )


def alerts(namespace: str, limits: Thresholds | None = None) -> tuple[Alert, ...]:
    """Return all alerts of a service with this namespace, without their groups."""
    return tuple(alert for group in alert_groups(namespace, limits) for alert in group.alerts)


def _alerts(table: _Table, queries: Queries, limits: Thresholds) -> tuple[Alert, ...]:
    """Return the enabled alerts of a table, with the operator's changes."""
    defaults = (_labelled(alert(queries, limits), queries.namespace) for alert in table)
    pairs = ((alert, limits.alerts.get(alert.name, Change())) for alert in defaults)
    return tuple(change.apply(alert) for alert, change in pairs if change.enabled)


def _labelled(alert: Alert, namespace: str) -> Alert:
    """Return the alert with its service's name, because several services can share one job."""
    return replace(alert, service=namespace) if alert.scope is Scope.SERVICE else alert
