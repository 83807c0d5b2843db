"""Links from alerts to the dashboards that show their causes."""

from safelight.rules.leads import LEADS
from safelight.rules.uids import LIVE


def with_dashboard(alerts: str) -> str:
    """Return alerts with the label `dashboard`: the uid of the one that shows the cause."""
    alerts = f'label_replace({alerts}, "dashboard", "{LIVE}", "", "")'  # of alerts of others
    for uid, names in LEADS.items():
        pattern = "|".join(names)
        alerts = f'label_replace({alerts}, "dashboard", "{uid}", "alertname", "{pattern}")'
    return alerts
