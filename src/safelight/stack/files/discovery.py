"""How Prometheus finds its targets: static targets, target files or Kubernetes pods.

The labels are always those of the Prometheus Operator: `job`, `instance`, `namespace`, `pod`,
`container`, `endpoint` and `node`. A service has no target label `endpoint`: its metrics have one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from safelight.metrics.catalog import ENDPOINT
from safelight.stack.files.document import Document, header, yaml_text

GPU_JOB = "gpu"
SCRAPE_ANNOTATION = "safelight/scrape"
SCRAPED_PORT = "http"  # the name of the service's port, in the Deployment and here
ROUTE_LABEL = ENDPOINT.name  # of our metrics: the route. The operator's is the name of a port
JOB_LABEL = "app.kubernetes.io/instance"
_TARGETS = "targets"  # beside prometheus.yml
_POD = "__meta_kubernetes_pod_"
_NAME = f"{_POD}label_app_kubernetes_io_name"
# The values of `app.kubernetes.io/name` in the charts that are in use.
_NODE_EXPORTERS = "(prometheus-)?node-exporter"
_GPU_EXPORTERS = "(nvidia-)?dcgm-exporter|safelight-gpu-exporter"
_METRICS_PORTS = "(http-)?metrics"
# The operator's labels, and their sources in Kubernetes discovery.
_LABELS = {
    "namespace": "__meta_kubernetes_namespace",
    "pod": f"{_POD}name",
    "container": f"{_POD}container_name",
    "endpoint": f"{_POD}container_port_name",
    "node": f"{_POD}node_name",
}


class Discovery(StrEnum):
    """The ways to find targets."""

    STATIC = "static"
    FILE = "file"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Targets:
    """The scrape jobs and the Alertmanagers, as prometheus.yml writes them."""

    jobs: list[Document]
    alertmanagers: list[Document]


def static_targets(jobs: Mapping[str, str | None], alertmanager: str) -> Targets:
    """Return jobs of one target each (`host:port`), without those that have no target."""
    configs = [{**_job(name), **_static(target)} for name, target in jobs.items() if target]
    return Targets(configs, [_static(alertmanager)])


def file_targets(jobs: Mapping[str, str], alertmanager: str) -> Targets:
    """Return jobs that read their targets from files, which may change while Prometheus runs."""
    configs = [
        {**_job(name), "file_sd_configs": [{"files": [f"{_TARGETS}/{name}*.yml"]}]} for name in jobs
    ]
    return Targets(configs, [_static(alertmanager)])


def target_files(jobs: Mapping[str, str]) -> dict[str, list[Document]]:
    """Return the initial content of the files that `file_targets` names, by path."""
    return {f"{_TARGETS}/{name}.yml": [{"targets": [target]}] for name, target in jobs.items()}


def kubernetes_targets() -> Targets:
    """Return jobs that find pods: Safelight's by annotation and port, exporters by name.

    The pod's label `app.kubernetes.io/instance` names the job, as in the ServiceMonitor.
    """
    scraped = f"{_POD}annotation_{SCRAPE_ANNOTATION.replace('/', '_')}"
    job_label = f"{_POD}label_{JOB_LABEL.replace('.', '_').replace('/', '_')}"
    service: list[Document] = [
        _keep(scraped, "true"),
        _keep(_LABELS["endpoint"], SCRAPED_PORT),
        {"source_labels": [job_label], "regex": "(.+)", "target_label": "job"},
        {"regex": ROUTE_LABEL, "action": "labeldrop"},
    ]
    jobs: list[Document] = [
        # The `namespace` of a service's metrics wins over that of its pod.
        {**_pods("safelight", service), "honor_labels": True},
        _pods("node", [*_exporter(_NODE_EXPORTERS), _copy_label("instance", _LABELS["node"])]),
        _pods(GPU_JOB, _exporter(_GPU_EXPORTERS)),
        {"job_name": "prometheus", **_static("127.0.0.1:9090")},
    ]
    alertmanager: Document = {
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [
            _keep(_NAME, "alertmanager"),
            _keep(_LABELS["endpoint"], "(http-)?web"),
        ],
    }
    return Targets(jobs, [alertmanager])


def with_key(targets: Targets, services: Collection[str], file: Path | None) -> Targets:
    """Return targets; Prometheus sends these services the API key in a file.

    Prometheus reads the file at each scrape. Without a file, return the targets unchanged.
    """
    if file is None:
        return targets
    shown = {"authorization": {"type": "Bearer", "credentials_file": str(file)}}
    jobs = [{**job, **shown} if job["job_name"] in services else job for job in targets.jobs]
    return Targets(jobs, targets.alertmanagers)


def discovery_rights(namespace: str) -> str:
    """Return the rights that the account `prometheus` in that namespace needs to find pods."""
    name = "safelight-prometheus-discovery"
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": "safelight"}}
    version = "rbac.authorization.k8s.io/v1"
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": "prometheus", "namespace": namespace}
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    role = {"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": [pods]}
    binding = {
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": group,
        "subjects": [subject],
    }
    usage = "# Apply: kubectl apply -f rbac.yaml\n# Prometheus runs as the account `prometheus`.\n"
    return yaml_text(role, header("discovery") + usage) + "---\n" + yaml_text(binding, "")


def _job(name: str) -> Document:
    # dcgm-exporter names the pod that uses a GPU: its labels must win over those of its own pod.
    return {"job_name": name, **({"honor_labels": True} if name == GPU_JOB else {})}


def _static(target: str) -> Document:
    return {"static_configs": [{"targets": [target]}]}


def _pods(name: str, rules: list[Document]) -> Document:
    drop_ended = {"source_labels": [f"{_POD}phase"], "regex": "Succeeded|Failed", "action": "drop"}
    labels = [_copy_label(label, source) for label, source in _LABELS.items()]
    return {
        **_job(name),
        "kubernetes_sd_configs": [{"role": "pod"}],
        "relabel_configs": [drop_ended, *labels, *rules],
    }


def _exporter(names: str) -> list[Document]:
    return [_keep(_NAME, names), _keep(_LABELS["endpoint"], _METRICS_PORTS)]


def _keep(source: str, pattern: str) -> Document:
    return {"source_labels": [source], "regex": pattern, "action": "keep"}


def _copy_label(name: str, source: str) -> Document:
    return {"source_labels": [source], "target_label": name}
