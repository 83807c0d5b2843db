"""Every alert of a service, in groups. Adding one is adding a row to one of the tables."""

import re
from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.promql import Queries
from safelight.rules.engine import ENGINE_ALERTS
from safelight.rules.gpu import CARD_ALERTS
from safelight.rules.host import HOST_ALERTS
from safelight.rules.monitoring import MONITOR_ALERTS
from safelight.rules.objectives import OBJECTIVE_ALERTS
from safelight.rules.outputs import OUTPUT_ALERTS
from safelight.rules.process import PROCESS_ALERTS
from safelight.rules.rule import Alert, Group
from safelight.rules.service import SERVICE_ALERTS
from safelight.rules.thresholds import Change, Thresholds
from safelight.rules.watcher import WATCHER_ALERTS
from safelight.rules.workers import WORKER_ALERTS

_Table = tuple[Callable[[Queries, Thresholds], Alert], ...]
_TABLES: dict[str, _Table] = {
    "objectives": OBJECTIVE_ALERTS,
    "service": SERVICE_ALERTS,
    "outputs": OUTPUT_ALERTS,
    "engine": ENGINE_ALERTS,
    "workers": WORKER_ALERTS,
    "cards": CARD_ALERTS,
    "host": HOST_ALERTS,
    "process": PROCESS_ALERTS,
    "watcher": WATCHER_ALERTS,
    "monitors": MONITOR_ALERTS,
}


def alert_groups(namespace: str, limits: Thresholds | None = None) -> tuple[Group, ...]:
    """Return the alerts for a service of that namespace."""
    limits = limits or Thresholds()
    return tuple(
        Group(f"{namespace}-{name}", _changed(table, Queries(namespace), limits))
        for name, table in _TABLES.items()
    )


def _changed(table: _Table, queries: Queries, limits: Thresholds) -> tuple[Alert, ...]:
    made = (_named(alert(queries, limits), queries.namespace) for alert in table)
    wanted = ((alert, limits.alerts.get(alert.name, Change())) for alert in made)
    return tuple(change.apply(alert) for alert, change in wanted if change.enabled)


def _named(alert: Alert, namespace: str) -> Alert:
    """Return the alert with its service's name, which tells it from other services' of one job."""
    own = re.search(rf"\b{namespace}[_:]", alert.expr)
    return replace(alert, service=namespace) if own else alert


def alerts(namespace: str, limits: Thresholds | None = None) -> tuple[Alert, ...]:
    """Return every alert, without its group."""
    return tuple(alert for group in alert_groups(namespace, limits) for alert in group.alerts)
