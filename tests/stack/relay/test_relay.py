import logging
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from safelight.errors import BadSetting, PortTaken
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.stack.receivers import Relayed
from safelight.stack.relay.delivery import Deliverer
from safelight.stack.relay.relay import MAX_BODY_BYTES, Help, Notifications, application, serve
from tests.stack.receivers import receiver
from tests.stack.webhooks import alert, webhook

MakeRelay = Callable[[httpx.Response], TestClient]


@pytest.fixture
def make_relay(tmp_path: Path) -> MakeRelay:
    """Return a function that makes a relay with one receiver, `group`, and its robot's reply."""
    (tmp_path / "url").write_text("http://robot/send?key=hush")

    def make(reply: httpx.Response) -> TestClient:
        client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: reply))
        meter = Meter("relay")
        receivers = {"group": Relayed("wecom", tmp_path / "url")}
        return TestClient(application(Deliverer(receivers, meter, client), meter, client))

    return make


@pytest.mark.parametrize(
    ("reply", "status", "outcome"),
    [
        ({"errcode": 0}, 200, "delivered"),
        ({"errcode": 93000, "errmsg": "invalid"}, 422, "refused"),
        ({"errcode": 45009, "errmsg": "limit"}, 503, "rate_limited"),
    ],
)
def test_the_response_to_alertmanager_reports_the_outcome(
    reply: dict[str, object], status: int, outcome: str, make_relay: MakeRelay
) -> None:
    with make_relay(httpx.Response(200, json=reply)) as relay:
        response = relay.post("/group", content=webhook())
        assert response.status_code == status
        assert response.json()["outcome"] == outcome
        assert ("retry-after" in response.headers) == (outcome == "rate_limited")
        name = f'safelight_notifications_total{{channel="wecom",outcome="{outcome}"}} 1.0'
        assert name in relay.get("/metrics").text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json", "authorization": "Bearer word"}, 200),
        ({"content-type": "application/json; charset=utf-8", "authorization": "Bearer word"}, 200),
        ({"content-type": "application/json", "authorization": "Bearer other"}, 401),
        ({"content-type": "application/json"}, 401),
        ({"content-type": "text/plain", "authorization": "Bearer word"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ],
)
def test_a_web_page_cannot_write_to_the_group_chat(
    headers: dict[str, str], status: int, make_relay: MakeRelay
) -> None:
    with make_relay(httpx.Response(200, json={"errcode": 0})) as relay:
        guarded = TestClient(Notifications(relay.app, "word"))
        response = guarded.post("/group", content=webhook(), headers=headers)
        assert response.status_code == status
        sent = 'safelight_notifications_total{channel="wecom",outcome="delivered"}'
        assert (f"{sent} 1.0" in relay.get("/metrics").text) == (status == 200)


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_token_is_refused_before_the_start(content: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://robot/send?key=hush")
    (tmp_path / "monitoring.toml").write_text(
        '[receivers.group]\nkind = "wecom"\nurl_file = "url"\n[routes]\ncritical = ["group"]\n'
    )
    (tmp_path / "token").write_text(content)
    settings = load(monitoring=tmp_path / "monitoring.toml", relay_token_file=tmp_path / "token")
    with pytest.raises(BadSetting, match=r"RELAY_TOKEN_FILE: .* is empty\. Write a token"):
        serve(settings)


def test_an_unknown_receiver_is_404(make_relay: MakeRelay) -> None:
    with make_relay(httpx.Response(200, json={"errcode": 0})) as relay:
        response = relay.post("/unknown", content=webhook())
        assert (response.status_code, response.json()["reason"]) == (404, "not_found")


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (MAX_BODY_BYTES + 1)])
def test_an_invalid_notification_is_400_and_is_not_sent(body: bytes, make_relay: MakeRelay) -> None:
    with make_relay(httpx.Response(500)) as relay:
        response = relay.post("/group", content=body)
        assert (response.status_code, response.json()["reason"]) == (400, "bad_request")
        assert len(response.text) < 300


def test_the_relay_reports_its_health(make_relay: MakeRelay) -> None:
    with make_relay(httpx.Response(500)) as relay:
        assert relay.get("/healthz").json() == {"status": "ok"}
        assert relay.head("/healthz").status_code == 200


def test_no_log_line_contains_an_alerts_text_or_the_robots_address(
    make_relay: MakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for reply in ({"errcode": 0}, {"errcode": 93000, "errmsg": "invalid"}):
        with make_relay(httpx.Response(200, json=reply)) as relay, capture_logs() as lines:
            relay.post("/group", content=webhook(alert(summary="words of a caller")))
        logged = str(lines) + caplog.text
        assert "group" in logged
        assert "words of" not in logged
        assert "hush" not in logged


def test_messages_and_runbooks_have_the_language_of_the_monitoring_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://robot/send")
    sent: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request.content.decode())
        return httpx.Response(200, json={"errcode": 0})

    client, meter = httpx.AsyncClient(transport=httpx.MockTransport(reply)), Meter("relay")
    deliverer = Deliverer({"group": Relayed("wecom", tmp_path / "url")}, meter, client)
    helped = Help(runbooks=lambda namespace, language: f"{namespace} {language}", language="zh")
    with TestClient(application(deliverer, meter, client, helped)) as relay:
        relay.post("/group", content=webhook())
        assert relay.get("/runbooks?namespace=edit").text == "edit zh"
    assert "[告警中 严重] HighP95Latency" in sent[0]


# ── Start failures ───────────────────────────────────────────────────────────────────────────────


def test_without_a_monitoring_file_the_relay_does_not_start() -> None:
    with pytest.raises(BadSetting, match="--monitoring"):
        serve(load())


def test_without_receivers_the_relay_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text("")
    with pytest.raises(BadSetting, match="has no receiver"):
        serve(load(monitoring=tmp_path / "monitoring.toml"))


def test_a_taken_port_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://example.org/hook")
    file = tmp_path / "monitoring.toml"
    file.write_text('[receivers.a]\nkind = "wecom"\nurl_file = "url"\n[routes]\ninfo = ["a"]\n')
    with receiver() as other, pytest.raises(PortTaken, match="for alert-relay is already in use"):
        serve(load(monitoring=file, alert_relay_port=other.port))
