"""Resources of the Prometheus Operator, and the dashboards for the sidecar of Grafana's chart."""

import json

import yaml

from safelight.stack.files.discovery import JOB_LABEL, ROUTE_LABEL, SCRAPED_PORT
from safelight.stack.files.document import Block, Document
from safelight.stack.files.manifests import App
from safelight.stack.files.values import Monitored

SHARED = "safelight-shared"
_VERSION = "monitoring.coreos.com/v1"
_MAX_BYTES = 1_000_000  # of a ConfigMap: etcd's limit is 1 MiB, including the labels
_MAX_SCRAPE_SECONDS = 10


def servicemonitor(app: App, monitored: Monitored) -> Document:
    """Return how the operator's Prometheus scrapes the pods, and the job's name.

    The operator adds its own relabelings before these.
    """
    seconds = monitored.scrape_interval_seconds
    node = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
    endpoint = {
        "port": SCRAPED_PORT,
        "path": "/metrics",
        **_key(monitored),
        "honorLabels": True,  # the `namespace` of a metric wins over that of the pod
        "interval": f"{seconds}s",
        "scrapeTimeout": f"{min(seconds, _MAX_SCRAPE_SECONDS)}s",
        "relabelings": [
            {"action": "replace", **node},
            {"action": "labeldrop", "regex": ROUTE_LABEL},
        ],
        "metricRelabelings": _restored("namespace"),
    }
    spec = {
        "jobLabel": JOB_LABEL,
        "selector": {"matchLabels": app.selected},
        "sampleLimit": 10_000,
        "endpoints": [endpoint],
    }
    head = app.head(_VERSION, "ServiceMonitor", **monitored.labels)
    return {**head, "spec": spec}


def rules(app: App, monitored: Monitored, text: str) -> Document:
    """Return the rules of one service."""
    head = app.head(_VERSION, "PrometheusRule", **monitored.labels)
    return {**head, "spec": yaml.safe_load(text)}


def shared_rules(monitored: Monitored, text: str) -> Document:
    """Return the rules that all services of a cluster share."""
    labels = {"app.kubernetes.io/name": "safelight", **monitored.labels}
    return {
        "apiVersion": _VERSION,
        "kind": "PrometheusRule",
        "metadata": {"name": SHARED, "labels": labels},
        "spec": yaml.safe_load(text),
    }


def board(name: str, text: str) -> Document:
    """Return a dashboard as a ConfigMap with the label for the sidecar of Grafana's chart."""
    metadata = {
        "name": f"safelight-board-{name.removesuffix('.json')}",
        "labels": {"app.kubernetes.io/name": "safelight", "grafana_dashboard": "1"},
        "annotations": {"grafana_folder": "Safelight"},
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {name: Block(fitting(text))},
    }


def board_path(name: str) -> str:
    """Return the file of a dashboard's ConfigMap."""
    return f"boards/{name.removesuffix('.json')}.yaml"


def fitting(text: str) -> str:
    """Return a dashboard that fits into a ConfigMap: without indentation if it is large."""
    if len(text.encode()) < _MAX_BYTES:
        return text
    return json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True)


def _key(monitored: Monitored) -> Document:
    """Return the API key that Prometheus sends, if the service needs one."""
    if not monitored.key_secret:
        return {}
    entry = {"name": monitored.key_secret, "key": "key"}
    return {"authorization": {"type": "Bearer", "credentials": entry}}


def _restored(label: str) -> list[Document]:
    """Return how a metric gets its own label back, if the operator ignores `honorLabels`."""
    renamed = f"exported_{label}"
    own = {"sourceLabels": [renamed], "regex": "(.+)", "targetLabel": label}
    return [{"action": "replace", **own}, {"action": "labeldrop", "regex": renamed}]
