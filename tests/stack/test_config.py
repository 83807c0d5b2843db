import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from safelight.rules.files import rule_file
from safelight.stack.config import alertmanager_yml, prometheus_yml

HERE: dict[str, Any] = {
    "services": {"safelight": "127.0.0.1:8000"},
    "node_exporter": "127.0.0.1:9100",
    "prometheus": "127.0.0.1:9090",
    "alertmanager": "127.0.0.1:9093",
}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def config(**changed: Any) -> dict[str, Any]:
    targets: dict[str, Any] = {**HERE, **changed}
    text = prometheus_yml(**targets, rule_files=["rules.yml"])
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def targets(loaded: dict[str, Any]) -> dict[str, str]:
    return {
        scrape["job_name"]: scrape["static_configs"][0]["targets"][0]
        for scrape in loaded["scrape_configs"]
    }


def test_service_and_machine_and_the_watchers_are_scraped_every_five_seconds() -> None:
    loaded = config()
    assert loaded["global"]["scrape_interval"] == "5s"
    assert targets(loaded) == {
        "safelight": "127.0.0.1:8000",
        "node": "127.0.0.1:9100",
        "prometheus": "127.0.0.1:9090",
        "alertmanager": "127.0.0.1:9093",
    }


def test_without_node_exporter_nothing_is_scraped_in_vain() -> None:
    assert "node" not in targets(config(node_exporter=None))


def test_each_of_several_services_is_a_job() -> None:
    both = {"zimage": "127.0.0.1:8000", "recognition": "127.0.0.1:8001"}
    assert both.items() <= targets(config(services=both)).items()


def test_promtool_has_no_complaint_about_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rule_file("instructpix2pix"))
    text = prometheus_yml(**HERE, rule_files=["rules.yml"])
    (tmp_path / "prometheus.yml").write_text(text)
    said = run("promtool", "check", "config", "--lint=all", str(tmp_path / "prometheus.yml"))
    assert "1 rule files found" in said


@pytest.mark.parametrize("slack", [None, "/run/secrets/slack_url"])
def test_amtool_has_no_complaint_even_where_the_secret_is_missing(
    slack: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(alertmanager_yml(slack))
    run("amtool", "check-config", str(file))


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "slack"), ("warning", "slack"), ("info", "quiet")]
)
def test_severity_decides_who_is_told(severity: str, receiver: str, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(alertmanager_yml("/run/secrets/slack_url"))
    route = ("amtool", "config", "routes", "test", f"--config.file={file}")
    assert run(*route, f"severity={severity}") == receiver


def test_without_a_webhook_nothing_is_sent_and_no_secret_is_written() -> None:
    loaded = yaml.safe_load(alertmanager_yml())
    assert loaded["receivers"] == [{"name": "quiet"}]
    assert not re.search("https?://", alertmanager_yml("/run/secrets/slack_url"))


def test_slack_hears_the_value_the_job_and_the_end() -> None:
    loaded = yaml.safe_load(alertmanager_yml("/run/secrets/slack_url"))
    slack = loaded["receivers"][1]["slack_configs"][0]
    assert slack["api_url_file"] == "/run/secrets/slack_url"
    assert slack["send_resolved"] is True
    assert ".Annotations.description" in slack["text"], "the description holds the value"
    assert ".CommonLabels.job" in slack["title"]


def test_a_lost_target_silences_what_it_made_blind() -> None:
    rules = yaml.safe_load(alertmanager_yml())["inhibit_rules"]
    lost = next(rule for rule in rules if rule["source_matchers"] == ['alertname="TargetDown"'])
    assert lost["target_matchers"] == ['alertname!="TargetDown"'], "or it would silence itself"
    assert lost["equal"] == ["job", "instance"]
