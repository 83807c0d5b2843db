import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from safelight.dashboards.catalog import boards
from safelight.metrics.catalog import BUILD_INFO, CATALOG, HTTP_SECONDS, REQUEST_SECONDS
from safelight.metrics.foreign import FOREIGN
from safelight.reasons import REASONS
from safelight.reference.alerts import as_markdown
from safelight.reference.runbooks import as_html
from safelight.reference.runbooks import as_markdown as runbooks
from safelight.rules.alerts import alert_groups, alerts
from safelight.rules.files import RUNBOOKS, WATCHDOG, Links, groups, rule_file, runbook_url
from safelight.rules.leads import lead
from safelight.rules.rule import Alert
from safelight.rules.thresholds import OF_MACHINES, Thresholds
from tests.rules.cases import CASES
from tests.rules.promtool import NAMESPACE, firing, judge, run, series

ALERTS = alerts(NAMESPACE)
ROOT = Path(__file__).parents[2]


def named(alert: Alert) -> str:
    return alert.name


def test_the_text_of_an_alert_has_the_value_and_the_job(tmp_path: Path) -> None:
    alert = next(alert for alert in ALERTS if alert.name == "HighAPIErrorRate")
    text = {
        "summary": "safelight: more than 2 % of the responses of /api/edit have a 5xx status",
        "description": "2.203% of the responses of /api/edit in safelight have a 5xx status.",
        "meaning": alert.runbook.means,
        "action": alert.runbook.do,
        "dashboard_url": "http://grafana/d/safelight-web-service?from=now-1h&to=now"
        "&var-namespace=instructpix2pix&var-job=safelight",
        "runbook_url": "http://wiki/instructpix2pix#highapierrorrate",
    }
    expected = {
        "exp_labels": {
            "severity": "warning",
            "job": "safelight",
            "handler": "/api/edit",
            "service": NAMESPACE,
        },
        "exp_annotations": text,
    }
    check = {"eval_time": "20m", "alertname": alert.name, "exp_alerts": [expected]}
    links = Links("http://wiki/{namespace}", "http://grafana/")
    rules = rule_file(NAMESPACE, links=links)
    judge(tmp_path, CASES[alert.name][0].fires, rules, alert_rule_test=[check])


def test_a_p95_alert_waits_its_five_minutes(tmp_path: Path) -> None:
    checks = [firing("RequestP95High", at, count) for at, count in (("5m", 0), ("8m", 1))]
    judge(tmp_path, CASES["RequestP95High"][1].fires, promql_expr_test=checks)


def test_the_unreachable_target_is_named(tmp_path: Path) -> None:
    built = series(BUILD_INFO, "1x5 _x30", version="0.1.0", python="3.11")
    down = [series("up", "0x30"), built]
    expr = 'ALERTS{alertname="TargetDown", alertstate="firing", instance="127.0.0.1:8000"}'
    labels = (
        'ALERTS{alertname="TargetDown", alertstate="firing", instance="127.0.0.1:8000", '
        'job="safelight", severity="critical"}'
    )
    check = {"expr": expr, "eval_time": "10m", "exp_samples": [{"labels": labels, "value": 1}]}
    judge(tmp_path, down, promql_expr_test=[check])


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rule_file(NAMESPACE))
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yml"))


def test_thresholds_change_the_rules_and_their_texts() -> None:
    changed = {a.name: a for a in alerts(NAMESPACE, Thresholds(request_p95_seconds=1.5))}
    assert "> 1.5 and " in changed["RequestP95High"].expr
    assert "1.5 s" in changed["RequestP95High"].summary
    assert changed["HighP95Latency"] in ALERTS


def test_latency_limits_are_bucket_edges() -> None:
    limits = Thresholds()
    assert limits.request_p95_seconds in REQUEST_SECONDS.buckets
    assert limits.http_p95_seconds in HTTP_SECONDS.buckets


def test_the_rules_use_the_namespace() -> None:
    text = rule_file("zimage")
    assert "zimage_request_duration_seconds_bucket" in text
    assert NAMESPACE not in text


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_a_runbook_has_its_anchor_in_the_page_of_alerts(alert: Alert) -> None:
    page, _, anchor = runbook_url(alert).partition("#")
    assert page == RUNBOOKS
    headings = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    assert headings.count(alert.name) == 1
    assert anchor == alert.name.lower()


def test_the_pages_are_up_to_date() -> None:
    assert (ROOT / "docs/alerts.md").read_text() == as_markdown(NAMESPACE)
    assert (ROOT / RUNBOOKS).read_text() == runbooks(NAMESPACE)


def test_services_have_their_own_limits_and_the_host_has_one() -> None:
    shared = Thresholds(gpu_celsius=80, request_p95_seconds=5)
    limits = {"one": shared, "two": shared.overridden_by(Thresholds(request_p95_seconds=1.5))}
    text = rule_file("one", "two", thresholds=limits)
    assert text.count("alert: GpuTemperatureHigh") == 1
    assert re.search(r"gpu_temperature_celsius.* > 80$", text, re.MULTILINE)
    slow = [line for line in text.splitlines() if "histogram_quantile(0.95, " in line]
    assert any("one_request" in line and "> 5 and " in line for line in slow)
    assert any("two_request" in line and "> 1.5 and " in line for line in slow)


def test_one_alert_can_be_changed_or_disabled() -> None:
    change = {"RequestP95High": {"for_seconds": 60, "severity": "critical"}}
    off = {"GuidanceOverridden": {"enabled": False}}
    limits = Thresholds.model_validate({"alerts": {**change, **off}})
    changed = {alert.name: alert for alert in alerts(NAMESPACE, limits)}
    slow = changed["RequestP95High"]
    assert (slow.for_seconds, slow.severity) == (60, "critical")
    assert set(CASES) - set(changed) == {"GuidanceOverridden"}


@pytest.mark.parametrize("name", [name for name in Thresholds.model_fields if name != "alerts"])
def test_every_limit_changes_a_rule_of_a_service_or_of_the_host(name: str) -> None:
    changed = _changed(name)
    assert changed, "no rule reads this limit"
    named = any(re.search(r"\bone[_:]|\"one\"", expr) for expr in changed)
    assert (name in OF_MACHINES) == (not named)


def _changed(name: str) -> set[str]:
    """Return the expressions that a limit of one service changes."""
    before: int | float = getattr(Thresholds(), name)
    share = isinstance(before, float) and 0.9 < before < 1
    after = (1 + before) / 2 if share else before * 0.9 if isinstance(before, float) else before + 1
    own = Thresholds.model_validate({name: after})
    return {rule.expr for group in groups("one", own) for rule in group.rules} - {
        rule.expr for group in groups("one") for rule in group.rules
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"availability_ratio": 1.0},
        {"request_p95_seconds": 0},
        {"gpu_celsius": 1000},
        {"success_ratio": 1.2},
        {"forecast_seconds": 1},
        {"request_p95_second": 3},
        {"request_p95_seconds": float("nan")},
        {"alerts": {"RequestP95High": {"for_seconds": -1}}},
    ],
    ids=str,
)
def test_a_limit_out_of_bounds_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Thresholds.model_validate(wrong)


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_a_runbook_names_only_metrics_that_exist(alert: Alert) -> None:
    labels = {label for metric in CATALOG for label in metric.labels}
    values = {value for label in labels for value in label.values or ()}
    known = {metric.name for metric in CATALOG} | set(FOREIGN) | set(REASONS) | {"load_failed"}
    known |= values | {label.name for label in labels}
    settings = set(Thresholds.model_fields)
    settings |= {"guidance_scale", "image_guidance_scale", "cuda_visible_devices", "to_thread"}
    text = f"{alert.runbook.means} {alert.runbook.look} {alert.runbook.do}"
    words = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text.replace("host_disk_*", "")))
    assert words <= known | settings


def test_groups_have_unique_names() -> None:
    names = [group.name for group in alert_groups(NAMESPACE)]
    assert len(names) == len(set(names))


def test_a_runbook_names_a_panel_that_its_dashboard_has() -> None:
    panels = {board.uid: {panel.title for panel in board.panels} for board in boards()}
    for alert in ALERTS:
        uid, panel = lead(alert.name)
        assert panel in panels[uid], alert.name


def test_the_runbooks_are_an_html_page_too() -> None:
    page = as_html(NAMESPACE)
    for alert in (*ALERTS, *WATCHDOG.alerts):
        assert f'<h2 id="{alert.name.lower()}">{alert.name}</h2>' in page
    assert "<script" not in page
    assert "http" not in page.replace("http_", ""), "no external file"


def test_the_runbooks_are_translated_with_the_panels_they_name() -> None:
    page = as_html(NAMESPACE, "zh")
    section = page.partition('<h2 id="requestp95high">')[2].partition("<h2")[0]
    assert '<html lang="zh">' in page
    assert "<b>警告</b> 持续 5 min 后触发。" in section
    assert "<b>仪表盘:</b> Safelight / 请求 → 请求的时间花在哪个阶段" in section
    assert "http" not in page.replace("http_", ""), "no external file"


def test_the_watchdog_always_fires(tmp_path: Path) -> None:
    judge(tmp_path, (), promql_expr_test=[firing("Watchdog", "0m", 1)])
