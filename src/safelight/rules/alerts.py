"""Every alert of a service, in groups. Adding one is adding a row to one of five tables."""

from safelight.metrics.promql import Queries
from safelight.rules.cards import CARD_ALERTS
from safelight.rules.host import HOST_ALERTS
from safelight.rules.service import SERVICE_ALERTS
from safelight.rules.spec import Alert, Group
from safelight.rules.thresholds import Thresholds
from safelight.rules.watcher import WATCHER_ALERTS
from safelight.rules.workers import WORKER_ALERTS

_TABLES = {
    "service": SERVICE_ALERTS,
    "workers": WORKER_ALERTS,
    "cards": CARD_ALERTS,
    "host": HOST_ALERTS,
    "watcher": WATCHER_ALERTS,
}


def alert_groups(namespace: str, limits: Thresholds | None = None) -> tuple[Group, ...]:
    """Return the alerts for a service of that namespace."""
    queries, limits = Queries(namespace), limits or Thresholds()
    return tuple(
        Group(f"{namespace}-{name}", 15, tuple(alert(queries, limits) for alert in table))
        for name, table in _TABLES.items()
    )


def alerts(namespace: str, limits: Thresholds | None = None) -> tuple[Alert, ...]:
    """Return every alert, without its group."""
    return tuple(alert for group in alert_groups(namespace, limits) for alert in group.alerts)
