import re
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.models.alerting import Query, Rule

from safelight.rules.alerts import alerts
from safelight.rules.files import Links, rule_file
from safelight.rules.thresholds import Change, Thresholds
from safelight.stack.files.grafana_alerts import grafana_alerts, recordings
from tests.rules.promtool import run

NAMESPACE = "a_namespace_that_has_many_letters"
LINKS = Links("https://wiki/runbooks", "https://grafana")
FILE = yaml.safe_load(grafana_alerts(NAMESPACE, Thresholds(), LINKS))
RULES: list[dict[str, Any]] = [rule for group in FILE["groups"] for rule in group["rules"]]


def test_grafana_has_every_alert_with_the_expression_and_the_labels_of_prometheus() -> None:
    expected = {alert.name: (alert.expr, alert.labels) for alert in alerts(NAMESPACE)}
    shown = {rule["title"]: (rule["data"][0]["model"]["expr"], rule["labels"]) for rule in RULES}
    assert shown == expected


def test_an_alert_fires_for_any_value_also_zero() -> None:
    query, present, fires = RULES[0]["data"]
    assert query["model"]["instant"]
    assert present["model"]["expression"].startswith("is_number($query)")
    assert fires["model"]["expression"] == present["refId"]
    assert fires["model"]["conditions"][0]["evaluator"] == {"type": "gt", "params": [0]}
    assert {rule["noDataState"] for rule in RULES} == {"OK"}


def test_grafanas_own_types_read_every_rule() -> None:
    for rule in RULES:
        read = Rule.from_json({**rule, "data": []})
        assert (read.uid, read.title, read.condition) == (rule["uid"], rule["title"], "fires")
        assert read.for_val == rule["for"]
        for step in rule["data"]:
            query = Query.from_json({**step, "model": {}})
            assert query.ref_id == step["refId"] == step["model"]["refId"]


def test_uids_are_unique_and_intervals_fit_grafanas_scheduler() -> None:
    uids = [rule["uid"] for rule in RULES]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[\w-]{1,40}", uid) for uid in uids)
    assert all(int(group["interval"].removesuffix("s")) % 10 == 0 for group in FILE["groups"])


def test_texts_use_the_value_of_grafana() -> None:
    texts = [text for rule in RULES for text in rule["annotations"].values()]
    assert any("$values.query.Value | humanizeDuration" in text for text in texts)
    assert not any(re.search(r"\$value\b", text) for text in texts)


def test_prometheus_gets_the_recordings_without_the_alerts(tmp_path: Path) -> None:
    file = tmp_path / "recordings.yml"
    file.write_text(recordings(NAMESPACE, Thresholds()))
    run("promtool", "check", "rules", str(file))
    everything = yaml.safe_load(rule_file(NAMESPACE))["groups"]
    expected = [rule for group in everything for rule in group["rules"] if "record" in rule]
    content = yaml.safe_load(file.read_text())["groups"]
    assert [rule for group in content for rule in group["rules"]] == expected


def test_an_operators_changes_apply_to_grafana_too() -> None:
    changes = {"StepsSlow": Change(enabled=False), "CircuitOpen": Change(for_seconds=30)}
    text = grafana_alerts(NAMESPACE, Thresholds(alerts=changes, step_p95_seconds=0.5), LINKS)
    assert "title: StepsSlow" not in text
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert next(r["for"] for r in rules if r["title"] == "CircuitOpen") == "30s"
