import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.stack.files.config import configuration
from safelight.stack.files.discovery import (
    GPU_JOB,
    file_targets,
    kubernetes_targets,
    static_targets,
    target_files,
)
from tests.stack.files.schemas import kustomize_files

JOBS = {"safelight": "127.0.0.1:8000", "node": "127.0.0.1:9100"}
ALERTMANAGER = "127.0.0.1:9093"
_POD = "__meta_kubernetes_pod_"


def run(*command: str) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def scraped(config: Path, job: str) -> dict[str, str]:
    """Return the labels of the job's only target, or no labels if Prometheus drops the target."""
    promtool = ("promtool", "check", "service-discovery", "--timeout=1s")
    [target] = json.loads(run(*promtool, str(config), job))
    labels: dict[str, str] = target["labels"] or {}
    return labels


def by_name(jobs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in jobs}


# ── Static targets and files ─────────────────────────────────────────────────────────────────────


def test_a_job_without_a_target_is_left_out() -> None:
    assert list(by_name(static_targets({**JOBS, "node": None}, ALERTMANAGER).jobs)) == ["safelight"]


def test_a_file_job_reads_its_target_file(tmp_path: Path) -> None:
    files = target_files(JOBS)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(content))
    config = tmp_path / "prometheus.yml"
    config.write_text(configuration(file_targets(JOBS, ALERTMANAGER), rule_files=[]))
    run("promtool", "check", "config", "--lint=all", str(config))
    assert scraped(config, "safelight") == {
        "__address__": "127.0.0.1:8000",
        "__metrics_path__": "/metrics",
        "__scheme__": "http",
        "__scrape_interval__": "5s",
        "__scrape_timeout__": "5s",
        "instance": "127.0.0.1:8000",
        "job": "safelight",
    }


def test_a_second_file_adds_a_service_with_a_job_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    more = [{"targets": ["127.0.0.1:8001"], "labels": {"job": "zimage"}}]
    (tmp_path / "targets/safelight-more.yml").write_text(yaml.safe_dump(more))
    config = tmp_path / "prometheus.yml"
    config.write_text(configuration(file_targets(JOBS, ALERTMANAGER), rule_files=[]))
    assert scraped(config, "safelight")["job"] == "zimage"


def test_the_labels_of_the_gpu_exporter_are_kept() -> None:
    jobs = by_name(static_targets({**JOBS, GPU_JOB: "dcgm-exporter:9400"}, ALERTMANAGER).jobs)
    assert jobs[GPU_JOB]["honor_labels"] is True
    assert "honor_labels" not in jobs["safelight"]


def test_in_a_cluster_a_services_own_endpoint_and_namespace_win() -> None:
    jobs = by_name(kubernetes_targets().jobs)
    assert jobs["safelight"]["honor_labels"] is True
    assert "honor_labels" not in jobs["node"]
    monitor = yaml.safe_load(kustomize_files("zimage_turbo")["monitoring/servicemonitor.yaml"])
    assert all(endpoint["honorLabels"] for endpoint in monitor["spec"]["endpoints"])


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────
# Debian's Prometheus has no Kubernetes discovery. The tests give the real promtool the labels that
# it would discover, as the labels of static targets.

DEPLOYED = yaml.safe_load(kustomize_files("zimage_turbo")["deployment.yaml"])["spec"]["template"]


def discovered(
    labels: dict[str, str],
    *,
    port: str = "http",
    annotations: dict[str, str] | None = None,
    phase: str = "Running",
) -> dict[str, str]:
    """Return the labels that Prometheus' pod role gives a pod, according to its documentation."""

    def name(key: str) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in key)

    return {
        "__meta_kubernetes_namespace": "images",
        f"{_POD}name": "pod-7c9",
        f"{_POD}node_name": "node-a",
        f"{_POD}phase": phase,
        f"{_POD}container_name": "main",
        f"{_POD}container_port_name": port,
        **{f"{_POD}label_{name(key)}": value for key, value in labels.items()},
        **{f"{_POD}annotation_{name(key)}": value for key, value in (annotations or {}).items()},
    }


SERVICE_POD = {
    "labels": DEPLOYED["metadata"]["labels"],
    "annotations": DEPLOYED["metadata"]["annotations"],
    "port": DEPLOYED["spec"]["containers"][0]["ports"][0]["name"],
}


def relabelled(job: str, pod: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the labels with which Prometheus scrapes a pod, or no labels if it drops the pod."""
    scrape = by_name(kubernetes_targets().jobs)[job]
    assert scrape.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    scrape["static_configs"] = [{"targets": ["10.0.0.7:8000"], "labels": pod}]
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    run("promtool", "check", "config", "--lint=all", str(config))
    labels = scraped(config, job)
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def test_d4_a_safelight_pod_is_scraped_with_the_operators_labels(tmp_path: Path) -> None:
    assert relabelled("safelight", discovered(**SERVICE_POD), tmp_path) == {
        "job": "zimage-turbo",
        "instance": "10.0.0.7:8000",
        "namespace": "images",
        "pod": "pod-7c9",
        "container": "main",
        "node": "node-a",
    }, "the operator's, except `endpoint`: our metrics have their own"


@pytest.mark.parametrize(
    "changed",
    [
        {"annotations": {}},
        {"annotations": {"safelight/scrape": "false"}},
        {"port": "grpc"},
        {"phase": "Succeeded"},
        {"phase": "Failed"},
    ],
    ids=str,
)
def test_other_pods_and_ports_are_not_scraped(changed: dict[str, Any], tmp_path: Path) -> None:
    assert relabelled("safelight", discovered(**{**SERVICE_POD, **changed}), tmp_path) == {}


def test_a_pod_without_the_label_is_in_the_job_safelight(tmp_path: Path) -> None:
    pod = discovered(**{**SERVICE_POD, "labels": {}})
    assert relabelled("safelight", pod, tmp_path)["job"] == "safelight"


@pytest.mark.parametrize(
    ("job", "name", "port"),
    [
        ("node", "node-exporter", "metrics"),
        ("node", "prometheus-node-exporter", "http-metrics"),
        ("gpu", "dcgm-exporter", "metrics"),
        ("gpu", "nvidia-dcgm-exporter", "metrics"),
        ("gpu", "safelight-gpu-exporter", "metrics"),
    ],
)
def test_exporters_are_found_by_the_names_in_their_charts(
    job: str, name: str, port: str, tmp_path: Path
) -> None:
    pod = discovered({"app.kubernetes.io/name": name}, port=port)
    labels = relabelled(job, pod, tmp_path)
    assert (labels["job"], labels["node"]) == (job, "node-a")
    assert labels["instance"] == ("node-a" if job == "node" else "10.0.0.7:8000")
    other = discovered({"app.kubernetes.io/name": "other"}, port=port)
    assert relabelled(job, other, tmp_path) == {}


def test_alertmanager_is_found_as_a_pod_too() -> None:
    alertmanagers: list[dict[str, Any]] = kubernetes_targets().alertmanagers
    [found] = alertmanagers
    assert found["kubernetes_sd_configs"] == [{"role": "pod"}]
    assert {rule["action"] for rule in found["relabel_configs"]} == {"keep"}
