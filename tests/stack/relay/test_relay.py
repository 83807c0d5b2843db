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
from safelight.stack.relay.courier import Courier
from safelight.stack.relay.relay import MOST_BODY_BYTES, application, serve
from tests.stack.receivers import receiver
from tests.stack.telling import alert, webhook

Answering = Callable[[httpx.Response], TestClient]


@pytest.fixture
def answering(tmp_path: Path) -> Answering:
    """Return a relay with one receiver, `group`, whose robot gives that answer."""
    (tmp_path / "url").write_text("http://robot/send?key=hush")

    def make(answer: httpx.Response) -> TestClient:
        client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer))
        meter = Meter("relay")
        receivers = {"group": Relayed("wecom", tmp_path / "url")}
        return TestClient(application(Courier(receivers, meter, client), meter, client))

    return make


@pytest.mark.parametrize(
    ("answer", "status", "outcome"),
    [
        ({"errcode": 0}, 200, "delivered"),
        ({"errcode": 93000, "errmsg": "invalid"}, 422, "refused"),
        ({"errcode": 45009, "errmsg": "limit"}, 503, "rate_limited"),
    ],
)
def test_alertmanager_is_told_what_became_of_its_notification(
    answer: dict[str, object], status: int, outcome: str, answering: Answering
) -> None:
    with answering(httpx.Response(200, json=answer)) as relay:
        told = relay.post("/group", content=webhook())
        assert told.status_code == status
        assert told.json()["outcome"] == outcome
        assert ("retry-after" in told.headers) == (outcome == "rate_limited")
        name = f'safelight_notifications_total{{channel="wecom",outcome="{outcome}"}} 1.0'
        assert name in relay.get("/metrics").text


def test_a_receiver_that_nobody_named_is_404(answering: Answering) -> None:
    with answering(httpx.Response(200, json={"errcode": 0})) as relay:
        told = relay.post("/nobody", content=webhook())
        assert (told.status_code, told.json()["reason"]) == (404, "not_found")


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (MOST_BODY_BYTES + 1)])
def test_what_is_no_notification_is_400_and_goes_nowhere(body: bytes, answering: Answering) -> None:
    with answering(httpx.Response(500)) as relay:
        told = relay.post("/group", content=body)
        assert (told.status_code, told.json()["reason"]) == (400, "bad_request")
        assert len(told.text) < 300


def test_the_relay_says_that_it_is_well(answering: Answering) -> None:
    with answering(httpx.Response(500)) as relay:
        assert relay.get("/healthz").json() == {"status": "ok"}


def test_no_log_line_holds_an_alerts_words_or_the_robots_address(
    answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for answer in ({"errcode": 0}, {"errcode": 93000, "errmsg": "invalid"}):
        with answering(httpx.Response(200, json=answer)) as relay, capture_logs() as lines:
            relay.post("/group", content=webhook(alert(summary="words of a caller")))
        shown = str(lines) + caplog.text
        assert "group" in shown
        assert "words of" not in shown
        assert "hush" not in shown


# ── What cannot start ────────────────────────────────────────────────────────────────────────────


def test_without_a_file_there_is_nothing_to_relay() -> None:
    with pytest.raises(BadSetting, match="--monitoring"):
        serve(load())


def test_a_file_without_robots_needs_no_relay(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text("")
    with pytest.raises(BadSetting, match="names no receiver for the relay"):
        serve(load(monitoring=tmp_path / "monitoring.toml"))


def test_a_taken_port_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://example.org/hook")
    file = tmp_path / "monitoring.toml"
    file.write_text('[receivers.a]\nkind = "wecom"\nurl_file = "url"\n[routes]\ninfo = ["a"]\n')
    with receiver() as other, pytest.raises(PortTaken, match="for alert-relay is already in use"):
        serve(load(monitoring=file, alert_relay_port=other.port))
