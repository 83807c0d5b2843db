"""How Prometheus finds what it scrapes: static targets, files of targets, or Kubernetes' pods.

Whichever it is, the labels are those that the Prometheus Operator gives: `job`, `instance`,
`namespace`, `pod`, `container`, `endpoint` and `node`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

GPU_JOB = "gpu"
SCRAPE_ANNOTATION = "safelight/scrape"
SCRAPED_PORT = "http"  # the name of the service's port, in the Deployment and here
JOB_LABEL = "app.kubernetes.io/instance"
_TARGETS = "targets"  # beside prometheus.yml
_POD = "__meta_kubernetes_pod_"
_NAME = f"{_POD}label_app_kubernetes_io_name"
# How the charts in use call the pods of those who are scraped besides our service.
_NODE_EXPORTERS = "(prometheus-)?node-exporter"
_GPU_EXPORTERS = "(nvidia-)?dcgm-exporter|safelight-gpu-exporter"
_METRICS_PORTS = "(http-)?metrics"
# The operator's names, and where Kubernetes says it.
_LABELS = {
    "namespace": "__meta_kubernetes_namespace",
    "pod": f"{_POD}name",
    "container": f"{_POD}container_name",
    "endpoint": f"{_POD}container_port_name",
    "node": f"{_POD}node_name",
}

Rules = list[dict[str, Any]]


class Discovery(StrEnum):
    """The ways to find targets."""

    STATIC = "static"
    FILE = "file"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Found:
    """Whom Prometheus scrapes, and whom it tells of alerts, as its configuration says it."""

    jobs: Rules
    alertmanagers: Rules


def static(jobs: Mapping[str, str | None], alertmanager: str) -> Found:
    """Return jobs of one target each (`host:port`); a job without a target is left out."""
    made = [{**_job(name), **_fixed(target)} for name, target in jobs.items() if target]
    return Found(made, [_fixed(alertmanager)])


def by_file(jobs: Mapping[str, str], alertmanager: str) -> Found:
    """Return jobs that read their targets from files, which may change while Prometheus runs."""
    made = [{**_job(name), "file_sd_configs": [{"files": [_pattern(name)]}]} for name in jobs]
    return Found(made, [_fixed(alertmanager)])


def target_files(jobs: Mapping[str, str]) -> dict[str, Rules]:
    """Return what `by_file` reads at first: a file for each job, beside prometheus.yml."""
    return {f"{_TARGETS}/{name}.yml": [{"targets": [target]}] for name, target in jobs.items()}


def kubernetes() -> Found:
    """Return jobs that find pods: ours by its annotation and port, exporters by their name.

    A job is named by the pod's label `app.kubernetes.io/instance`, as the ServiceMonitor does.
    """
    scraped = f"{_POD}annotation_{SCRAPE_ANNOTATION.replace('/', '_')}"
    label = f"{_POD}label_{JOB_LABEL.replace('.', '_').replace('/', '_')}"
    ours = [
        _keep(scraped, "true"),
        _keep(_LABELS["endpoint"], SCRAPED_PORT),
        {"source_labels": [label], "regex": "(.+)", "target_label": "job"},
    ]
    jobs = [
        _pods("safelight", ours),
        _pods("node", [*_exporter(_NODE_EXPORTERS), _label("instance", _LABELS["node"])]),
        _pods(GPU_JOB, _exporter(_GPU_EXPORTERS)),
        {"job_name": "prometheus", **_fixed("127.0.0.1:9090")},
    ]
    told = [_keep(_NAME, "alertmanager"), _keep(_LABELS["endpoint"], "(http-)?web")]
    return Found(jobs, [{"kubernetes_sd_configs": [{"role": "pod"}], "relabel_configs": told}])


def _job(name: str) -> dict[str, Any]:
    # dcgm-exporter names the pod that uses a card: its word goes before what we know of itself.
    return {"job_name": name, **({"honor_labels": True} if name == GPU_JOB else {})}


def _fixed(target: str) -> dict[str, Any]:
    return {"static_configs": [{"targets": [target]}]}


def _pattern(name: str) -> str:
    return f"{_TARGETS}/{name}*.yml"


def _pods(name: str, rules: Rules) -> dict[str, Any]:
    ended = {"source_labels": [f"{_POD}phase"], "regex": "Succeeded|Failed", "action": "drop"}
    labels = [_label(name, source) for name, source in _LABELS.items()]
    return {
        **_job(name),
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [ended, *labels, *rules],
    }


def _exporter(names: str) -> Rules:
    return [_keep(_NAME, names), _keep(_LABELS["endpoint"], _METRICS_PORTS)]


def _keep(source: str, pattern: str) -> dict[str, Any]:
    return {"source_labels": [source], "regex": pattern, "action": "keep"}


def _label(name: str, source: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": name}
