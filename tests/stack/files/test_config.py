import subprocess
from pathlib import Path
from typing import Any

import yaml

from safelight.rules.files import rule_file
from safelight.stack.files.config import prometheus_yml

SERVICES = {"safelight": "127.0.0.1:8000"}
MONITORING: dict[str, str | None] = {
    "node": "127.0.0.1:9100",
    "prometheus": "127.0.0.1:9090",
    "alertmanager": "127.0.0.1:9093",
}


def run(*command: str) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.strip()


def config(
    services: dict[str, str] = SERVICES,
    monitoring: dict[str, str | None] = MONITORING,
    key_file: Path | None = None,
) -> dict[str, Any]:
    text = prometheus_yml(services, monitoring, rule_files=["rules.yml"], key_file=key_file)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def targets(loaded: dict[str, Any]) -> dict[str, str]:
    return {
        scrape["job_name"]: scrape["static_configs"][0]["targets"][0]
        for scrape in loaded["scrape_configs"]
    }


def test_service_machine_and_monitoring_are_scraped_every_five_seconds() -> None:
    loaded = config()
    assert loaded["global"]["scrape_interval"] == "5s"
    assert targets(loaded) == {
        "safelight": "127.0.0.1:8000",
        "node": "127.0.0.1:9100",
        "prometheus": "127.0.0.1:9090",
        "alertmanager": "127.0.0.1:9093",
    }


def test_without_node_exporter_there_is_no_job_for_it() -> None:
    assert "node" not in targets(config(monitoring={**MONITORING, "node": None}))


def test_the_alert_relay_is_scraped_if_it_runs() -> None:
    assert "alert-relay" not in targets(config())
    relayed = targets(config(monitoring={**MONITORING, "alert-relay": "127.0.0.1:9094"}))
    assert relayed["alert-relay"] == "127.0.0.1:9094"


def test_each_of_several_services_is_a_job() -> None:
    both = {"zimage": "127.0.0.1:8000", "recognition": "127.0.0.1:8001"}
    assert both.items() <= targets(config(services=both)).items()


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rule_file("instructpix2pix"))
    text = prometheus_yml(
        SERVICES, MONITORING, rule_files=["rules.yml"], key_file=tmp_path / "metrics_key"
    )
    (tmp_path / "metrics_key").write_text("sl-key")
    (tmp_path / "prometheus.yml").write_text(text)
    output = run("promtool", "check", "config", "--lint=all", str(tmp_path / "prometheus.yml"))
    assert "1 rule files found" in output


def test_only_the_services_get_the_key_for_their_metrics() -> None:
    loaded = config(key_file=Path("/etc/safelight/metrics_key"))
    shown = {job["job_name"]: job.get("authorization") for job in loaded["scrape_configs"]}
    key = {"type": "Bearer", "credentials_file": "/etc/safelight/metrics_key"}
    assert shown == {"safelight": key, "node": None, "prometheus": None, "alertmanager": None}
