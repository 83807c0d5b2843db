import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import MalformedBody
from safelight.stack.relay.notice import parse, sanitize, with_finding
from tests.stack.webhooks import alert, webhook

SMALLEST_BYTES = 4096 - 600  # WeCom's limit minus the longest title


def test_a_notification_becomes_a_title_and_a_text_with_value_and_runbook() -> None:
    notice = parse(webhook())
    assert notice.title == "[FIRING critical] HighP95Latency (safelight)"
    assert notice.text(16_000).splitlines() == [
        "**safelight: /api/edit has been slow**  ",
        "P95 of /api/edit is 16s; the limit is 15 s.  ",
        "Do: Restart a worker that makes no progress.  ",
        "Dashboard: http://grafana/d/safelight-web-service?from=1767223800000&to=now"
        "&var-job=safelight  ",
        "Runbook: docs/alerts.md#highp95latency",
    ]


def test_a_resolved_alert_links_to_its_own_time_and_needs_no_action() -> None:
    lines = parse(webhook(alert(resolved=True))).text(16_000).splitlines()
    assert "from=1767223800000&to=1767230100000" in lines[2]
    assert len(lines) == 3


def test_the_first_finding_comes_first_and_is_made_harmless() -> None:
    notice = with_finding(parse(webhook()), "The model is slow: *P95* rose. Restart it.")
    first, *others = notice.text(16_000).splitlines()
    assert first == "**Diagnosis:** The model is slow: ∗P95∗ rose. Restart it.  "  # noqa: RUF001
    assert any("/api/edit has been slow" in line for line in others)
    assert notice.text(3000).endswith("\n"), "the finding is no alert: none is left out"


def test_a_group_of_different_alerts_has_their_names_and_the_worst_severity() -> None:
    slow = alert("StepsSlow")
    slow["labels"]["severity"] = "warning"
    notice = parse(webhook(slow, alert("CircuitOpen"), commonLabels={"job": "edit"}))
    assert notice.title == "[FIRING critical] CircuitOpen, StepsSlow (edit)"
    more = [alert(name) for name in ("E", "D", "C", "B", "A")]
    assert parse(webhook(*more, commonLabels={})).title == "[FIRING critical] A, B, C +2"


@pytest.mark.parametrize("time", [None, "", "yesterday", "2026-01-01", "0001-01-01T00:00:00Z"])
def test_a_missing_or_damaged_time_changes_nothing_else(time: str | None) -> None:
    notice = parse(webhook({**alert(), "startsAt": time}))
    assert "Dashboard: http://grafana/d/safelight-web-service?from=" in notice.text(16_000)


@pytest.mark.parametrize("name", ["startsAt", "endsAt"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:01Z"])
def test_a_time_at_the_end_of_all_time_changes_nothing_else(name: str, time: str) -> None:
    notice = parse(webhook({**alert(resolved=True), name: time}))
    assert "Dashboard: http://grafana/d/safelight-web-service" in notice.text(16_000)


def test_a_resolved_alert_is_marked() -> None:
    notice = parse(webhook(alert(resolved=True)))
    assert notice.title.startswith("[RESOLVED]")
    assert notice.text(16_000).startswith("**resolved: ")
    assert not notice.firing


def test_alerts_beyond_the_limit_are_counted_with_those_that_alertmanager_omitted() -> None:
    many = [alert(description="long " * 100) for _ in range(50)]
    text = parse(webhook(*many, left_out=7)).text(2000)
    shown = text.count("**safelight")
    assert 0 < shown < 50
    assert text.endswith(f"… and {57 - shown} more")


# ── Bodies that are short of something ───────────────────────────────────────────────────────────

GRAFANA = {
    "receiver": "relay",
    "status": "firing",
    "orgId": 1,
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Slow", "grafana_folder": "Safelight"},
            "annotations": {"summary": "Edits are slow", "runbook_url": "docs/alerts.md#slow"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://grafana/alerting/1/edit",
            "fingerprint": "c6eadffa33fcdf37",
            "silenceURL": "http://grafana/alerting/silence/new",
            "dashboardURL": "",
            "panelURL": "",
            "values": {"B": 44.23, "C": 1},
            "valueString": "[ var='B' value=44.23 ]",
        }
    ],
    "groupLabels": {},
    "commonLabels": {"alertname": "Slow"},
    "commonAnnotations": {},
    "externalURL": "http://grafana/",
    "version": "1",
    "groupKey": "{}:{}",
    "truncatedAlerts": 0,
    "title": "[FIRING:1] Slow",
    "state": "alerting",
    "message": "**Firing**",
}


def test_a_notification_of_grafana_is_read_too() -> None:
    notice = parse(json.dumps(GRAFANA).encode())
    assert (notice.title, notice.firing) == ("[FIRING] Slow", True)
    assert notice.text(1000).splitlines()[0] == "**Edits are slow**  "


def test_no_alerts_are_a_title_alone() -> None:
    notice = parse(webhook(alerts=[], status="resolved"))
    assert (notice.title, notice.text(1000)) == ("[RESOLVED] HighP95Latency (safelight)", "")
    assert parse(webhook(alerts=[], truncatedAlerts=9)).text(1000) == "… and 9 more"


@pytest.mark.parametrize("name", ["labels", "annotations"])
@pytest.mark.parametrize("value", [None, {}, {"summary": None, "alertname": None}])
def test_labels_and_annotations_may_be_null(name: str, value: object) -> None:
    alerts = [{**alert(), name: value}]
    notice = parse(webhook(alerts=alerts, commonLabels=None, truncatedAlerts=None))
    assert notice.title.startswith("[FIRING")
    assert notice.text(1000).startswith("**")


@pytest.mark.parametrize(
    ("ends_at", "resolved"),
    [("2026-01-01T00:00:00Z", True), ("0001-01-01T00:00:00Z", False), ("", False), (None, False)],
)
def test_an_alert_without_a_status_is_resolved_if_it_has_an_end(
    ends_at: str | None, resolved: bool
) -> None:
    notice = parse(webhook(alerts=[{"endsAt": ends_at}], status=None))
    assert notice.firing == (not resolved)
    assert notice.text(100).startswith("**resolved") == resolved


def test_an_alert_without_annotations_shows_its_name() -> None:
    bare = {"status": "firing", "labels": {"alertname": "Bare"}}
    assert parse(webhook(bare)).text(1000) == "**Bare**\n"


def test_a_summary_of_nothing_visible_gives_way_to_the_name() -> None:
    assert parse(webhook(alert("Slow", summary="\u202e \n"))).text(1000).startswith("**Slow**")


def test_a_group_without_a_common_name_has_a_title() -> None:
    assert parse(webhook(commonLabels={})).title == "[FIRING critical] HighP95Latency"
    nameless = {"status": "firing", "labels": {}}
    assert parse(webhook(nameless, commonLabels={})).title == "[FIRING] Alerts"


@pytest.mark.parametrize(
    "markup",
    [
        "<!channel>",
        "<@all>",
        "<at id=all></at>",
        "@all",
        "@everyone",
        "[x](http://evil)",
        "![x](y)",
        "<font color='warning'>",
        "**x**",
        "`x`",
    ],
)
def test_no_text_contains_a_mention_or_a_link(markup: str) -> None:
    notice = parse(
        webhook(
            alert(summary=markup, description=markup, runbook_url=markup),
            commonLabels={"alertname": markup, "job": markup},
        )
    )
    text = notice.title + notice.text(16_000, bold="")
    assert not set("<>@[]*`") & set(text.removeprefix("[FIRING critical]"))


def test_a_text_is_shortened_to_one_line() -> None:
    assert sanitize("a\nb\r\n\x00c\u2028d", 20) == "a b c d"
    assert sanitize("x" * 500, 100) == "x" * 99 + "…"


@given(
    texts=st.lists(st.text(max_size=2000), min_size=1, max_size=5), left_out=st.integers(0, 10**6)
)
def test_any_alerts_fit_and_omitted_ones_are_counted(texts: list[str], left_out: int) -> None:
    alerts = [alert(summary=text, description=text, runbook_url=text) for text in texts]
    notice = parse(webhook(*alerts, left_out=left_out, commonLabels={"alertname": texts[0]}))
    text = notice.text(SMALLEST_BYTES)
    assert len(text.encode()) <= SMALLEST_BYTES
    assert len(notice.title.encode()) < 600
    shown = text.count("**") // 2
    assert shown >= 1, "one alert always fits"
    rest = len(texts) - shown + left_out
    assert text.endswith(f"… and {rest} more") == bool(rest)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"{}", "version"),
        (b"[]", "all: Input should be an object"),
        (webhook(version="3"), "version"),
        (webhook(status="odd"), "status"),
        (webhook(alerts=None), "alerts"),
        (webhook(alerts=[3]), "alerts"),
        (webhook(truncatedAlerts=-1), "truncatedAlerts"),
    ],
)
def test_an_invalid_notification_is_reported_in_one_line(body: bytes, message: str) -> None:
    with pytest.raises(MalformedBody) as raised:
        parse(body)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
)


@given(
    content=st.dictionaries(st.sampled_from(["version", "status", "alerts", "commonLabels"]), JSON)
)
def test_any_json_is_a_notification_or_refused(content: dict[str, Any]) -> None:
    with suppress(MalformedBody):
        notice = parse(json.dumps(content).encode())
        assert notice.title.startswith(("[FIRING]", "[RESOLVED]"))
        assert len(notice.text(SMALLEST_BYTES)) <= SMALLEST_BYTES


def test_a_notification_has_the_words_of_the_language() -> None:
    slow = alert("StepsSlow")
    slow["labels"]["severity"] = "warning"
    notice = with_finding(parse(webhook(slow, left_out=7), "zh"), "The model is slow.")
    assert notice.title == "[告警中 警告] HighP95Latency (safelight)"
    first, *others = notice.text(16_000).splitlines()
    assert first.startswith("**诊断:** ")
    assert [line.split(": ")[0] for line in others if ": http" in line or ": docs" in line] == [
        "仪表盘",
        "处理手册",
    ]
    assert others[-1] == "… 另有 7 条"


def test_a_resolved_alert_is_marked_in_the_language() -> None:
    notice = parse(webhook(alert(resolved=True)), "zh")
    assert notice.title.startswith("[已恢复]")
    assert notice.text(16_000).startswith("**已恢复: ")


def test_a_title_has_the_most_urgent_alerts_and_the_number_of_the_others() -> None:
    minor = [alert(name) for name in ("A", "B", "C")]
    for each in minor:
        each["labels"]["severity"] = "warning"
    title = parse(webhook(*minor, alert("Worst"), commonLabels={"job": "edit"})).title
    assert title == "[FIRING critical] Worst, A, B +1 (edit)"
