"""Check with a real Prometheus that our labels survive those that a cluster gives to a target."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from benchmarks.monitoring.prometheus import Prometheus, running
from safelight.metrics.catalog import BUILD_INFO, CATALOG, SERVICE_INFO
from safelight.metrics.metric import Metric
from safelight.stack.files.discovery import kubernetes_targets
from tests.stack.files.schemas import kustomize_files
from tests.stack.waiting import eventually

FILES = kustomize_files("zimage_turbo")
MONITOR = yaml.safe_load(FILES["monitoring/servicemonitor.yaml"])["spec"]
LABELS = yaml.safe_load(FILES["service.yaml"])["metadata"]["labels"]
# The labels that the operator gives to each target. The last one is from our own relabelings.
OF_TARGETS = {"namespace", "pod", "service", "container", "job", "instance", "endpoint", "node"}
OWN = "from-the-service"
OF_POD = {"pod": "pod-7c9", "container": "safelight", "node": "node-a", "job": "zimage-turbo"}


def conflicts(metric: Metric) -> set[str]:
    return {label.name for label in metric.labels} & OF_TARGETS


CONFLICTING = [metric for metric in CATALOG if conflicts(metric)]


def exposition() -> str:
    """Return a sample of each metric that has a label in common with targets, and of another."""
    lines = [f'{BUILD_INFO.name}{{version="1"}} 1']
    for metric in CONFLICTING:
        labels = ",".join(f'{label}="{OWN}"' for label in sorted(conflicts(metric)))
        lines.append(f"{metric.name}{{{labels}}} 1")
    return "\n".join(lines) + "\n"


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(exposition().encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def service() -> Iterator[str]:
    """Serve the exposition, and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def meta(name: str) -> str:
    return name.replace(".", "_").replace("/", "_")


def discovered() -> dict[str, str]:
    """Return what Kubernetes discovery knows of an endpoint of our Service and its pod."""
    kubernetes = {
        "namespace": "images",
        "service_name": "safelight-zimage-turbo",
        "endpoint_port_name": "http",
        "endpoint_address_target_kind": "Pod",
        "endpoint_address_target_name": "pod-7c9",
        "pod_name": "pod-7c9",
        "pod_node_name": "node-a",
        "pod_container_name": "safelight",
        "pod_container_port_name": "http",
        "pod_phase": "Running",
        "pod_annotation_safelight_scrape": "true",
    }
    for name, value in LABELS.items():
        kubernetes[f"service_label_{meta(name)}"] = kubernetes[f"pod_label_{meta(name)}"] = value
        kubernetes[f"service_labelpresent_{meta(name)}"] = "true"
    return {f"__meta_kubernetes_{name}": value for name, value in kubernetes.items()}


def copied(source: str, target: str, regex: str = "(.*)") -> dict[str, Any]:
    names = [f"__meta_kubernetes_{name}" for name in source.split(";")]
    return {"source_labels": names, "target_label": target, "regex": regex}


def translated(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a relabeling of the monitor as prometheus.yml writes it."""
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(key, key): value for key, value in rule.items()}


def operators_job(*, overridden: bool) -> dict[str, Any]:
    """Return the scrape job that the Prometheus Operator writes for our monitor.

    The order is that of `generateServiceMonitorConfig` in its promcfg.go: it first keeps the
    selected Services and the port, then sets its labels, then applies the monitor's relabelings.
    `overridden` is `overrideHonorLabels` of the resource Prometheus.
    """
    [endpoint] = MONITOR["endpoints"]
    selected = [
        {
            "action": "keep",
            "source_labels": [
                f"__meta_kubernetes_service_label_{meta(name)}",
                f"__meta_kubernetes_service_labelpresent_{meta(name)}",
            ],
            "regex": f"({value});true",
        }
        for name, value in sorted(MONITOR["selector"]["matchLabels"].items())
    ]
    port = ["__meta_kubernetes_endpoint_port_name"]
    own = [
        copied(
            "endpoint_address_target_kind;endpoint_address_target_name", "pod", regex="Pod;(.*)"
        ),
        copied("namespace", "namespace"),
        copied("service_name", "service"),
        copied("pod_name", "pod"),
        copied("pod_container_name", "container"),
        copied("service_name", "job"),
        copied(f"service_label_{meta(MONITOR['jobLabel'])}", "job", regex="(.+)"),
        {"target_label": "endpoint", "replacement": endpoint["port"]},
    ]
    return {
        "honor_labels": endpoint.get("honorLabels", False) and not overridden,
        "relabel_configs": [
            *selected,
            {"action": "keep", "source_labels": port, "regex": endpoint["port"]},
            *own,
            *map(translated, endpoint.get("relabelings", [])),
        ],
        "metric_relabel_configs": [*map(translated, endpoint.get("metricRelabelings", []))],
    }


def discovery_job() -> dict[str, Any]:
    """Return the job of our own configuration with `--discovery kubernetes`."""
    [job] = [job for job in kubernetes_targets().jobs if job["job_name"] == "safelight"]
    return {name: value for name, value in job.items() if name != "kubernetes_sd_configs"}


def bare_job() -> dict[str, Any]:
    """Return the operator's job without what our monitor does about labels."""
    job = operators_job(overridden=True)
    return {**job, "relabel_configs": job["relabel_configs"][:-2], "metric_relabel_configs": []}


JOBS = {
    "operator": operators_job(overridden=False),
    "overrideHonorLabels": operators_job(overridden=True),
    "discovery": discovery_job(),
    "bare": bare_job(),
}


@dataclass(frozen=True)
class Scraped:
    """A Prometheus that has scraped a service with each job, each at an address of its own."""

    prometheus: Prometheus
    address: dict[str, str]

    def labels(self, job: str, metric: Metric, **matchers: str) -> dict[str, str]:
        """Return the labels of the only series of a metric."""
        chosen = {"instance": self.address[job], **matchers}
        selector = ",".join(f'{name}="{value}"' for name, value in chosen.items())
        query = f"{metric.name}{{{selector}}}"
        [series] = self.prometheus.get("query", query=query)["result"]
        labels: dict[str, str] = series["metric"]
        return labels

    def is_complete(self) -> bool:
        return len(self.prometheus.get("query", query=SERVICE_INFO.name)["result"]) == len(JOBS)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with ExitStack() as services:
        address = {name: services.enter_context(service()) for name in JOBS}
        targets = {name: [{"targets": [address[name]], "labels": discovered()}] for name in JOBS}
        jobs = [
            {**job, "job_name": name, "static_configs": targets[name]} for name, job in JOBS.items()
        ]
        config = yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs})
        folder = tmp_path_factory.mktemp("prometheus")
        with running(folder, config, "groups: []\n") as prometheus:
            result = Scraped(prometheus, address)
            eventually(result.is_complete, within=30, what="the first scrape of each job")
            yield result


def test_only_these_labels_of_our_metrics_are_also_labels_of_targets() -> None:
    assert set().union(*map(conflicts, CATALOG)) == {"endpoint", "namespace"}


@pytest.mark.parametrize("job", ["operator", "overrideHonorLabels", "discovery"])
@pytest.mark.parametrize("metric", CONFLICTING, ids=lambda metric: metric.name)
def test_p1_the_labels_of_a_service_survive_in_a_cluster(
    metric: Metric, job: str, scraped: Scraped
) -> None:
    own = dict.fromkeys(conflicts(metric), OWN)
    labels = scraped.labels(job, metric, **own)
    assert OF_POD.items() <= labels.items()
    assert not [name for name in labels if name.startswith("exported_")]


@pytest.mark.parametrize("job", ["operator", "overrideHonorLabels", "discovery"])
def test_metrics_without_a_namespace_get_that_of_the_pod(job: str, scraped: Scraped) -> None:
    labels = scraped.labels(job, BUILD_INFO)
    assert {**OF_POD, "namespace": "images"}.items() <= labels.items()
    assert "endpoint" not in labels


def test_without_our_relabelings_the_operators_labels_would_win(scraped: Scraped) -> None:
    route = scraped.labels("bare", CONFLICTING[0])
    assert (route["endpoint"], route["exported_endpoint"]) == ("http", OWN)
    info = scraped.labels("bare", SERVICE_INFO)
    assert (info["namespace"], info["exported_namespace"]) == ("images", OWN)
