import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import BadSetting
from safelight.stack.files.alerting import alertmanager_yml, duration
from safelight.stack.monitoring import Monitoring, Timing, read

EVERYONE = """
[receivers.phone]
kind = "slack"
url_file = "slack"
[receivers.ding]
kind = "dingtalk"
url_file = "ding"
secret_file = "ding_secret"
[receivers.lark]
kind = "feishu"
url_file = "lark"
[receivers.work]
kind = "wecom"
url_file = "work"
[receivers.hook]
kind = "webhook"
url = "http://127.0.0.1:1/hook"
[receivers.hidden]
kind = "webhook"
url_file = "hidden"
[receivers.mail]
kind = "email"
to = ["a@example.org", "b@example.org"]
sender = "safelight@example.org"
smarthost = "smtp.example.org:587"
username = "safelight"
password_file = "password"
[routes]
critical = ["phone", "ding", "lark", "work", "mail"]
warning = ["hook", "hidden"]
[[mute]]
name = "nights"
times = ["22:00-24:00", "00:00-07:00"]
zone = "Asia/Shanghai"
[[mute]]
name = "weekend"
weekdays = ["saturday", "sunday"]
severities = ["warning", "info", "critical"]
"""


def monitoring(folder: Path, text: str = EVERYONE) -> Monitoring:
    (folder / "monitoring.toml").write_text(text)
    return read(folder / "monitoring.toml", secrets_here=False)


def loaded(monitoring: Monitoring | None, **options: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(alertmanager_yml(monitoring, **options))
    return content


def config_of(content: dict[str, Any], name: str, key: str) -> dict[str, Any]:
    [receiver] = [receiver for receiver in content["receivers"] if receiver["name"] == name]
    [config] = receiver[key]
    return dict(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "alertmanager.yml").write_text(alertmanager_yml(monitoring(tmp_path)))
    return tmp_path / "alertmanager.yml"


def run(*command: str) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.strip()


def test_amtool_accepts_the_file_without_the_secret_files(file: Path) -> None:
    assert "8 receivers" in run("amtool", "check-config", str(file))


@pytest.mark.parametrize(
    ("severity", "receivers"),
    [("critical", "phone,ding,lark,work,mail"), ("warning", "hook,hidden"), ("info", "quiet")],
)
def test_severity_decides_the_receivers(severity: str, receivers: str, file: Path) -> None:
    route = ("amtool", "config", "routes", "test", f"--config.file={file}")
    assert run(*route, f"severity={severity}") == receivers


def test_without_a_monitoring_file_nothing_is_sent_and_no_address_is_written(
    tmp_path: Path,
) -> None:
    text = alertmanager_yml()
    (tmp_path / "alertmanager.yml").write_text(text)
    run("amtool", "check-config", str(tmp_path / "alertmanager.yml"))
    assert yaml.safe_load(text)["receivers"] == [{"name": "quiet"}]
    assert {route["receiver"] for route in yaml.safe_load(text)["route"]["routes"]} == {"quiet"}
    assert not re.search("https?://", text)


def test_secret_files_are_named_and_no_secret_is_written(tmp_path: Path) -> None:
    content = loaded(monitoring(tmp_path))
    assert config_of(content, "phone", "slack_configs")["api_url_file"] == str(tmp_path / "slack")
    mail = config_of(content, "mail", "email_configs")
    assert mail["auth_password_file"] == str(tmp_path / "password")
    assert "auth_password" not in mail


def test_slack_receives_the_value_the_job_and_the_resolution(tmp_path: Path) -> None:
    slack = config_of(loaded(monitoring(tmp_path)), "phone", "slack_configs")
    assert slack["channel"] == "#safelight"
    assert slack["send_resolved"] is True
    assert ".Annotations.description" in slack["text"], "the description contains the value"
    assert ".CommonLabels.job" in slack["title"]


NOTIFICATION = {
    "status": "firing",
    "commonLabels": {"severity": "critical", "alertname": "StepsSlow", "job": "edit"},
    "alerts": [
        {
            "startsAt": "2026-01-01T00:00:00Z",
            "annotations": {
                "action": "Cool it.",
                "dashboard_url": "/d/x?from=now-1h",
                "summary": "",
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("language", "title", "words"),
    [
        ("en", "[FIRING critical] StepsSlow (edit)", ["Do", "Dashboard", "Runbook"]),
        ("zh", "[告警中 严重] StepsSlow (edit)", ["处理", "仪表盘", "处理手册"]),
    ],
)
def test_alertmanager_writes_slack_messages_in_the_language(
    language: str, title: str, words: list[str], tmp_path: Path
) -> None:
    slack = config_of(
        loaded(monitoring(tmp_path, f'language = "{language}"\n{EVERYONE}')),
        "phone",
        "slack_configs",
    )
    (tmp_path / "data.json").write_text(json.dumps(NOTIFICATION))
    (tmp_path / "none.tmpl").write_text('{{ define "none" }}{{ end }}')
    files = (f"--template.glob={tmp_path}/*.tmpl", f"--template.data={tmp_path}/data.json")

    def written(template: str) -> str:
        return run("amtool", "template", "render", *files, f"--template.text={template}")

    assert written(slack["title"]) == title
    assert re.findall(r"^(\w+): ?", written(slack["text"]), re.MULTILINE) == words


@pytest.mark.parametrize("name", ["ding", "lark", "work", "hidden"])
def test_robots_and_secret_webhooks_are_notified_through_the_relay(
    name: str, tmp_path: Path
) -> None:
    content = loaded(monitoring(tmp_path), relay_url="http://127.0.0.9:1234")
    hook = config_of(content, name, "webhook_configs")
    assert hook["url"] == f"http://127.0.0.9:1234/{name}"
    assert hook["send_resolved"] is True


def test_the_monitoring_file_can_set_the_relays_address(tmp_path: Path) -> None:
    content = loaded(monitoring(tmp_path, 'relay_url = "http://relay:9094/"\n' + EVERYONE))
    assert config_of(content, "work", "webhook_configs")["url"] == "http://relay:9094/work"


def test_mute_hours_apply_to_their_severities(tmp_path: Path) -> None:
    content = loaded(monitoring(tmp_path))
    muted = {
        route["matchers"][0]: route.get("mute_time_intervals")
        for route in content["route"]["routes"]
    }
    assert muted['severity="critical"'] == ["weekend"]
    assert muted['severity="warning"'] == ["nights", "weekend"]
    nights, weekend = content["time_intervals"]
    assert nights["time_intervals"][0]["times"][1] == {"start_time": "00:00", "end_time": "07:00"}
    assert nights["time_intervals"][0]["location"] == "Asia/Shanghai"
    assert weekend["time_intervals"] == [{"weekdays": ["saturday", "sunday"], "location": "UTC"}]


def test_a_lost_target_mutes_the_other_alerts_of_its_instance() -> None:
    rules = loaded(None)["inhibit_rules"]
    lost = next(rule for rule in rules if rule["source_matchers"] == ['alertname="TargetDown"'])
    assert lost["target_matchers"] == ['alertname!="TargetDown"'], "it must not mute itself"
    assert lost["equal"] == ["job", "instance"]


def test_no_alert_mutes_itself() -> None:
    for rule in loaded(None)["inhibit_rules"]:
        [source], [target] = rule["source_matchers"], rule["target_matchers"]
        name = source.split('"')[1]
        operator, pattern = re.fullmatch(r'alertname(=~|!=|=)"(.*)"', target).groups()  # type: ignore[union-attr]
        matches = re.fullmatch(pattern, name) is not None
        assert matches == (operator == "!="), rule


def test_a_fast_burn_rate_mutes_the_slower_ones() -> None:
    rules = loaded(None)["inhibit_rules"]
    ladder = {
        rule["source_matchers"][0]: rule["target_matchers"][0]
        for rule in rules
        if rule["equal"] == ["job", "service", "objective"]
    }
    assert list(ladder) == [
        'alertname="ErrorBudgetBurnFast"',
        'alertname="ErrorBudgetBurn"',
        'alertname="ErrorBudgetBurnSlow"',
    ]
    assert all("ErrorBudgetLeaking" in target for target in ladder.values())


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (10, "10s"), (60, "1m"), (90, "90s"), (14400, "4h"), (0.25, "250ms")],
)
def test_durations_are_written_as_alertmanager_reads_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_alertmanager_accepts_the_shortest_allowed_times(tmp_path: Path) -> None:
    timing = "".join(
        f"{name} = {field.metadata[0].ge or 0.0001}\n"
        for name, field in Timing.model_fields.items()
    )
    text = alertmanager_yml(monitoring(tmp_path, f"[timing]\n{timing}"))
    assert "group_interval: 100ms" in text
    (tmp_path / "alertmanager.yml").write_text(text)
    run("amtool", "check-config", str(tmp_path / "alertmanager.yml"))


@given(name=st.text(min_size=1, max_size=60))
def test_any_receiver_name_is_refused_or_written_unchanged(name: str) -> None:
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1"}
    try:
        monitoring = Monitoring.model_validate(
            {"receivers": {name: hook}, "routes": {"critical": [name]}}
        )
    except ValueError:
        assert not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name) or name == "quiet"
    else:
        assert loaded(monitoring)["receivers"][1]["name"] == name


def test_a_name_that_looks_like_another_yaml_type_stays_a_name(tmp_path: Path) -> None:
    for name in ("yes", "0x10", "123", "null", "1e3"):
        text = f'[receivers.{name}]\nkind = "wecom"\nurl_file = "x"\n[routes]\ninfo = ["{name}"]\n'
        config = tmp_path / "alertmanager.yml"
        config.write_text(alertmanager_yml(monitoring(tmp_path, text)))
        assert loaded(monitoring(tmp_path, text))["receivers"][1]["name"] == name
        run("amtool", "check-config", str(config))


PAGE = (Path(__file__).parents[3] / "docs" / "delivery.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL))
def test_alertmanager_loads_every_example_of_the_page(example: str, tmp_path: Path) -> None:
    (tmp_path / "alertmanager.yml").write_text(alertmanager_yml(monitoring(tmp_path, example)))
    run("amtool", "check-config", str(tmp_path / "alertmanager.yml"))


def test_the_page_shows_every_kind_and_the_default_timings() -> None:
    kinds = set(re.findall(r'^kind = "(\w+)"', PAGE, flags=re.MULTILINE))
    assert kinds == {"slack", "webhook", "email", "dingtalk", "feishu", "wecom"}
    for name, value in Timing():
        assert f"{name} = {value:g}" in PAGE


def test_a_name_with_a_line_break_is_reported_in_one_line(tmp_path: Path) -> None:
    text = '[receivers."a: b\\n- c"]\nkind = "wecom"\nurl_file = "x"\n'
    with pytest.raises(BadSetting) as raised:
        monitoring(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_a_service_that_cannot_work_gives_one_message() -> None:
    rules = loaded(None)["inhibit_rules"]
    by_source = {rule["source_matchers"][0]: rule for rule in rules}
    (stopped,) = by_source['alertname="NoWorkerReady"']["target_matchers"]
    (refusing,) = by_source['alertname="CircuitOpen"']["target_matchers"]
    for symptom in ("SuccessRatioLow", "RequestsFailing", "ErrorBudgetBurnFast"):
        assert symptom in stopped
        assert symptom in refusing
    assert "CircuitOpen" in stopped
    assert "NoWorkerReady" not in refusing


def test_the_watchdog_is_sent_every_minute_to_its_own_receiver_only(tmp_path: Path) -> None:
    text = EVERYONE + '[receivers.deadman]\nkind = "webhook"\nurl = "http://127.0.0.1:1/"\n'
    text = text.replace("[routes]", '[routes]\nwatchdog = ["deadman"]')
    first, *others = loaded(monitoring(tmp_path, text))["route"]["routes"]
    assert first["matchers"] == ['alertname="Watchdog"']
    assert (first["receiver"], first["repeat_interval"]) == ("deadman", "1m")
    assert "continue" not in first
    assert all(route["receiver"] != "deadman" for route in others)


def test_without_a_receiver_the_watchdog_is_quiet() -> None:
    first = loaded(None)["route"]["routes"][0]
    assert (first["matchers"], first["receiver"]) == (['alertname="Watchdog"'], "quiet")


@pytest.mark.parametrize("cause", ["OutputsInvalid", "CudaOutOfMemory", "RequestsRefused"])
def test_an_alert_that_names_the_failure_mutes_those_that_only_count(cause: str) -> None:
    rules = loaded(None)["inhibit_rules"]
    [rule] = [each for each in rules if each["source_matchers"] == [f'alertname="{cause}"']]
    for general in ("RequestsFailing", "SuccessRatioLow", "HighAPIErrorRate"):
        assert general in rule["target_matchers"][0]
    assert rule["equal"] == ["job"]
