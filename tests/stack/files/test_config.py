import subprocess
from pathlib import Path
from typing import Any

import yaml

from safelight.rules.files import rule_file
from safelight.stack.files.config import prometheus_yml

TARGETS: dict[str, Any] = {
    "services": {"safelight": "127.0.0.1:8000"},
    "node_exporter": "127.0.0.1:9100",
    "prometheus": "127.0.0.1:9090",
    "alertmanager": "127.0.0.1:9093",
}


def run(*command: str) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.strip()


def config(**changed: Any) -> dict[str, Any]:
    targets: dict[str, Any] = {**TARGETS, **changed}
    text = prometheus_yml(**targets, rule_files=["rules.yml"])
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
    assert "node" not in targets(config(node_exporter=None))


def test_the_alert_relay_is_scraped_if_it_runs() -> None:
    assert "alert-relay" not in targets(config())
    relayed = targets(config(alert_relay="127.0.0.1:9094"))
    assert relayed["alert-relay"] == "127.0.0.1:9094"


def test_each_of_several_services_is_a_job() -> None:
    both = {"zimage": "127.0.0.1:8000", "recognition": "127.0.0.1:8001"}
    assert both.items() <= targets(config(services=both)).items()


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rule_file("instructpix2pix"))
    text = prometheus_yml(**TARGETS, rule_files=["rules.yml"])
    (tmp_path / "prometheus.yml").write_text(text)
    output = run("promtool", "check", "config", "--lint=all", str(tmp_path / "prometheus.yml"))
    assert "1 rule files found" in output
