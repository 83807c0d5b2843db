"""Webhook bodies as Alertmanager sends them."""

import json
from typing import Any


def alert(
    name: str = "HighP95Latency", *, resolved: bool = False, **changed: str
) -> dict[str, Any]:
    annotations = {
        "summary": "safelight: /api/edit has been slow",
        "description": "P95 of /api/edit is 16s; the limit is 15 s.",
        "action": "Restart a worker that makes no progress.",
        "dashboard_url": "http://grafana/d/safelight-web-service?from=now-1h&to=now&var-job=safelight",
        "runbook_url": f"docs/alerts.md#{name.lower()}",
        **changed,
    }
    return {
        "status": "resolved" if resolved else "firing",
        "labels": {"alertname": name, "job": "safelight", "severity": "critical"},
        "annotations": annotations,
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-01T01:00:00Z" if resolved else "0001-01-01T00:00:00Z",
        "fingerprint": "0123456789abcdef",
    }


def webhook(*alerts: dict[str, Any], left_out: int = 0, **changed: Any) -> bytes:
    alerts = alerts or (alert(),)
    resolved = all(one["status"] == "resolved" for one in alerts)
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="HighP95Latency"}',
        "receiver": "ding",
        "status": "resolved" if resolved else "firing",
        "commonLabels": {"alertname": "HighP95Latency", "job": "safelight"},
        "truncatedAlerts": left_out,
        "alerts": alerts,
        **changed,
    }
    return json.dumps(body).encode()
