"""Notifications as Alertmanager sends them."""

import json
from typing import Any


def alert(
    name: str = "HighP95Latency", *, over: bool = False, **annotations: str
) -> dict[str, Any]:
    told = {
        "summary": "safelight: /api/edit has been slow",
        "description": "P95 of /api/edit is 16s; the limit is 15 s.",
        "runbook_url": f"docs/alerts.md#{name.lower()}",
        **annotations,
    }
    return {
        "status": "resolved" if over else "firing",
        "labels": {"alertname": name, "job": "safelight", "severity": "critical"},
        "annotations": told,
        "startsAt": "2026-01-01T00:00:00Z",
        "fingerprint": "0123456789abcdef",
    }


def webhook(*alerts: dict[str, Any], left_out: int = 0, **changed: Any) -> bytes:
    told = alerts or (alert(),)
    over = all(each["status"] == "resolved" for each in told)
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="HighP95Latency"}',
        "receiver": "ding",
        "status": "resolved" if over else "firing",
        "commonLabels": {"alertname": "HighP95Latency", "job": "safelight"},
        "truncatedAlerts": left_out,
        "alerts": told,
        **changed,
    }
    return json.dumps(body).encode()
