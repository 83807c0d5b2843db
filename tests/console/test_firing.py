"""The page Alerts, beside a real Prometheus whose rule fires and a real Alertmanager."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.console.choices import Span
from safelight.console.firing import Episode, episodes
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.serving.http.keys import hashed
from safelight.stories.replay import free_port, replay
from tests.console.browsing import SLOW, opened
from tests.console.running import console
from tests.stack.receivers import QUICK, Alertmanager, Receiver, alertmanager, receiver
from tests.stack.waiting import eventually

RULES = """
groups:
  - name: test
    interval: 1s
    rules:
      - alert: MostRequestsFail
        for: 8s  # Prometheus finds Alertmanager after five, and would tell it again after a minute
        expr: label_replace(vector(1), "job", "safelight", "", "")
        labels: {severity: critical}
        annotations:
          summary: "<b>Most</b> requests fail."
          meaning: Callers get errors.
          action: Look at the failures.
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
"""
HOOK = '[receivers.hook]\nkind = "webhook"\nurl = "{url}"\n[routes]\n'
ROUTES = 'critical = ["hook"]\nwarning = ["hook"]\n'
LOGGED_IN, VIEWING = "sl-operators-key", "sl-viewers-key"


@dataclass(frozen=True)
class Alerting:
    """A console with what it shows."""

    url: str
    prometheus: Prometheus
    manager: Alertmanager
    hook: Receiver

    def ask(self, method: str, path: str, content: object = None) -> httpx.Response:
        return httpx.request(method, f"{self.url}/data/{path}", json=content, timeout=30)

    def state(self) -> str:
        [alert] = self.ask("GET", "alerts").json()["alerts"]
        return str(alert["state"])


def addresses(prometheus: str, manager: str) -> tuple[str, ...]:
    return "--prometheus", prometheus, "--alertmanager", manager


@pytest.fixture(scope="module")
def alerting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    folder = tmp_path_factory.mktemp("alerting")
    (folder / "rules.yml").write_text(RULES)
    with receiver() as hook:
        (folder / "manager").mkdir()
        hook_only = HOOK.format(url=hook.url) + ROUTES + QUICK
        with alertmanager(folder / "manager", hook_only) as manager:
            target = manager.url.removeprefix("http://")
            config = (
                f"rule_files: [{folder / 'rules.yml'}]\nalerting:\n  alertmanagers:\n"
                f"    - static_configs: [{{targets: ['{target}']}}]\nscrape_configs: []\n"
            )
            with (
                replay(folder, config) as prometheus,
                console(folder / "console", *addresses(prometheus.url, manager.url)) as url,
            ):
                own = Alerting(url, prometheus, manager, hook)
                eventually(
                    lambda: "MostRequestsFail" in manager.states(), within=30, what="it fires"
                )
                yield own


def test_an_alert_comes_with_its_meaning_and_who_is_told(alerting: Alerting) -> None:
    shown = alerting.ask("GET", "alerts").json()
    [alert] = shown["alerts"]  # not the one that always fires
    assert alert["labels"]["alertname"] == "MostRequestsFail"
    assert alert["receivers"] == ["hook"]
    assert alert["dashboard"].startswith("safelight-")
    assert alert["look"]
    assert shown["problem"] == ""


def test_a_silence_has_a_reason_and_an_end_and_can_be_ended(alerting: Alerting) -> None:
    labels = {"alertname": "MostRequestsFail"}
    content = {"labels": labels, "hours": 2, "reason": "A new card.", "by": "Anna"}
    made = alerting.ask("POST", "silences", content)
    assert made.status_code == 201
    eventually(lambda: alerting.state() == "silenced", within=30, what="the alert is silenced")
    [silence] = alerting.ask("GET", "alerts").json()["silences"]
    assert (silence["comment"], silence["created_by"]) == ("A new card.", "Anna")
    assert alerting.ask("DELETE", f"silences/{made.json()['id']}").status_code == 200
    eventually(lambda: alerting.state() == "firing", within=30, what="the alert is back")
    assert alerting.ask("GET", "alerts").json()["silences"] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"labels": {}, "hours": 1, "reason": "x"}, "labels"),
        ({"labels": {"a": "b"}, "hours": 0, "reason": "x"}, "hours"),
        ({"labels": {"a": "b"}, "hours": 9999, "reason": "x"}, "hours"),
        ({"labels": {"a": "b"}, "hours": 1, "reason": "  "}, "reason"),
        ({"labels": {"a": "b"}, "hours": 1}, "reason"),
        ({"labels": {"a": "b"}, "hours": 1, "reason": "x", "more": 1}, "more"),
        ({"labels": {"": "b"}, "hours": 1, "reason": "x"}, "refused"),
        ("text", "object"),
    ],
)
def test_a_wrong_silence_is_refused_in_words(
    alerting: Alerting, content: object, says: str
) -> None:
    answer = alerting.ask("POST", "silences", content)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_a_silence_that_is_gone_is_said(alerting: Alerting) -> None:
    answer = alerting.ask("DELETE", "silences/0b7a2f6e-0000-4000-8000-000000000000")
    assert answer.status_code == 422
    assert "has ended" in answer.json()["detail"]
    assert alerting.ask("DELETE", "silences/..%2Fx").status_code in (404, 422)


def test_a_test_reaches_the_receiver(alerting: Alerting) -> None:
    assert alerting.ask("POST", "alerts/test", {"severity": "warning"}).status_code == 200
    names: set[str] = set()
    while "SafelightTest" not in names:
        names |= {one["labels"]["alertname"] for one in alerting.hook.next().json["alerts"]}
    assert alerting.ask("POST", "alerts/test", {"severity": "loud"}).status_code == 422


def test_alerts_are_shown_although_alertmanager_is_gone(alerting: Alerting, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with console(tmp_path, *addresses(alerting.prometheus.url, nobody)) as url:
        shown = httpx.get(f"{url}/data/alerts", timeout=30).json()
        assert [each["state"] for each in shown["alerts"]] == ["firing"]
        assert shown["alerts"][0]["receivers"] is None
        assert "Alertmanager" in shown["problem"]
        labels = {"alertname": "x"}
        content = {"labels": labels, "hours": 1, "reason": "x"}
        assert httpx.post(f"{url}/data/silences", json=content, timeout=30).status_code == 502


def test_a_viewer_cannot_act_and_nobody_sees_anything_without_a_key(
    alerting: Alerting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"anna:operate={hashed(LOGGED_IN)},ben:view={hashed(VIEWING)}"
    monkeypatch.setenv("SAFELIGHT_API_KEYS", keys)
    with console(tmp_path, *addresses(alerting.prometheus.url, alerting.manager.url)) as url:
        content = {"labels": {"alertname": "x"}, "hours": 1, "reason": "x"}
        assert httpx.get(f"{url}/data/alerts").status_code == 401
        with httpx.Client(base_url=url, timeout=30) as ben:
            assert ben.post("/data/session", content="sl-nobodys-key").status_code == 401
            shown = ben.post("/data/session", content=VIEWING)
            assert shown.json()["scopes"] == ["view"]
            assert "samesite=strict" in shown.headers["set-cookie"].lower()
            assert ben.get("/data/alerts").is_success
            refused = ben.post("/data/silences", json=content)
            assert refused.status_code == 403
            assert "operate" in refused.json()["detail"]
        with httpx.Client(base_url=url, timeout=30) as anna:
            anna.post("/data/session", content=LOGGED_IN)
            made = anna.post("/data/silences", json={**content, "by": "Ben"})
            [silence] = anna.get("/data/alerts").json()["silences"]
            assert silence["created_by"] == "anna"  # whose key it is, whatever is written
            anna.delete(f"/data/silences/{made.json()['id']}")
            anna.delete("/data/session")
            assert anna.get("/data/alerts").status_code == 401


def test_the_history_has_each_time_that_an_alert_fired() -> None:
    span = Span(0.0, 1200.0, 60)
    labels = {"__name__": "ALERTS", "alertstate": "firing", "alertname": "A"}
    times = (60.0, 120.0, 180.0, 600.0, 1140.0, 1200.0)
    series = [Series(labels, tuple((at, 1.0) for at in times))]
    own = {"alertname": "A"}
    earlier = [Episode(own, 0.0, 180.0, lasts=False), Episode(own, 540.0, 600.0, lasts=False)]
    firing = episodes(series, span, 1170.0, [labels])
    assert firing == [*earlier, Episode(own, 1080.0, 1170.0, lasts=True)]
    assert episodes(series, span, 1170.0) == [*earlier, Episode(own, 1080.0, 1170.0, lasts=False)]


def test_an_alert_that_fires_now_is_in_the_history_of_any_length_at_once(
    alerting: Alerting,
) -> None:
    eventually(lambda: alerting.state() == "firing", within=60, what="the alert fires")
    for seconds in (3600, 86_400, 2_592_000):
        answer = alerting.ask("GET", f"alerts/history?seconds={seconds}").json()
        assert [each["lasts"] for each in answer["episodes"]] == [True], answer


# ── In the browser ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def page(chromium: Browser, alerting: Alerting) -> Iterator[Page]:
    with opened(chromium, alerting.url) as page:
        yield page


def test_an_alert_is_silenced_in_the_browser_and_comes_back(page: Page) -> None:
    page.goto("/alerts")
    alert = page.get_by_role("article", name="MostRequestsFail")
    expect(alert.get_by_text("<b>Most</b> requests fail.")).to_be_visible(timeout=SLOW)
    alert.get_by_text("What it means and what to do").click()
    expect(alert.get_by_text("Callers get errors.")).to_be_visible()
    expect(alert.get_by_text("Told: hook")).to_be_visible()
    alert.get_by_role("button", name="Silence").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("a new card is installed")
    dialog.get_by_label("Your name").fill("Anna")
    dialog.get_by_role("button", name="Silence").click()
    quiet = page.get_by_role("region", name="Quiet")
    expect(quiet.get_by_role("heading", name="MostRequestsFail")).to_be_visible(timeout=SLOW)
    row = page.get_by_role("row", name="a new card is installed")
    expect(row).to_contain_text("Anna")
    row.get_by_role("button", name="End now").click()
    page.get_by_role("dialog").get_by_role("button", name="End the silence").click()
    expect(row).to_have_count(0, timeout=SLOW)
    expect(quiet).to_have_count(0, timeout=SLOW)
    expect(alert.get_by_role("button", name="Silence")).to_be_visible()


def test_the_history_has_a_lane_for_the_alert(page: Page, alerting: Alerting) -> None:
    eventually(lambda: alerting.state() == "firing", within=60, what="the alert fires")
    page.goto("/alerts")
    history = page.get_by_role("region", name="History")
    expect(history.get_by_text("MostRequestsFail")).to_be_visible(timeout=SLOW)
    expect(history.locator(".lane .bar")).to_have_count(1)
