import base64
import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import CHANNEL, DELIVERY
from safelight.stack.receivers import Channel
from safelight.stack.relay.notice import Notice, bytes_in_json, parse
from safelight.stack.relay.robots import ROBOTS, Outcome, dingtalk, feishu, wecom
from tests.stack.webhooks import alert, webhook

SECRET, NOW = "SEC-of-the-test", 1_700_000_000.25


def notice(count: int = 1) -> Notice:
    return parse(webhook(*[alert(description="长" * 290) for _ in range(count)]))


# ── Signatures, by the formula in each robot's documentation ─────────────────────────────────────


def test_dingtalk_signs_milliseconds_in_the_address() -> None:
    message = dingtalk(notice(), SECRET, NOW)
    signature = hmac.new(SECRET.encode(), b"1700000000250\n" + SECRET.encode(), hashlib.sha256)
    assert message.params == {
        "timestamp": "1700000000250",
        "sign": base64.b64encode(signature.digest()).decode(),
    }


def test_feishu_signs_seconds_in_the_body_with_the_text_as_the_key() -> None:
    message = feishu(notice(), SECRET, NOW)
    body = json.loads(message.content)
    key = f"1700000000\n{SECRET}".encode()
    assert body["timestamp"] == "1700000000"
    assert body["sign"] == base64.b64encode(hmac.digest(key, b"", "sha256")).decode()
    assert message.params == {}


def test_signatures_equal_those_of_openssl() -> None:
    # computed once with openssl dgst -sha256 -hmac …
    assert (
        dingtalk(notice(), SECRET, NOW).params["sign"]
        == "WxWK//A2JaJyOsDBbj4mziDdTTMbBKYBTtXbLjUotnc="
    )
    assert (
        json.loads(feishu(notice(), SECRET, NOW).content)["sign"]
        == "34MqKdRZU1/0eO/Pvpdfaci9KVaJNsr1k7/GaV1yCUs="
    )


def test_without_a_secret_nothing_is_signed() -> None:
    assert dingtalk(notice(), "", NOW).params == {}
    assert "sign" not in json.loads(feishu(notice(), "", NOW).content)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────────


def test_dingtalk_gets_markdown_without_mentions() -> None:
    body = json.loads(dingtalk(notice(), SECRET, NOW).content)
    assert body["msgtype"] == "markdown"
    assert body["markdown"]["title"] == "[FIRING critical] HighP95Latency (safelight)"
    assert body["markdown"]["text"].startswith(
        "### [FIRING critical] HighP95Latency (safelight)\n\n**"
    )
    assert body["at"] == {"isAtAll": False}


@pytest.mark.parametrize(("resolved", "colour"), [(False, "red"), (True, "green")])
def test_feishu_gets_a_card_of_plain_text_with_a_colour(resolved: bool, colour: str) -> None:
    notice = parse(webhook(alert(resolved=resolved)))
    body = json.loads(feishu(notice, SECRET, NOW).content)
    assert body["msg_type"] == "interactive"
    assert body["card"]["header"]["template"] == colour
    [text] = [element["text"] for element in body["card"]["elements"]]
    assert text["tag"] == "plain_text"
    assert "**" not in text["content"]
    assert "the limit is 15 s" in text["content"]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_messages_fit_the_size_limits_of_the_robots(count: int) -> None:
    content = json.loads(wecom(notice(count), "", NOW).content)["markdown"]["content"]
    assert len(content.encode()) <= 4096
    assert "**safelight" in content
    assert len(dingtalk(notice(count), SECRET, NOW).content) <= 20_000
    assert len(feishu(notice(count), SECRET, NOW).content) <= 20_000


TEXTS = {
    "Chinese": "延迟" * 150,
    "emoji": "🔥" * 300,
    "families of emoji": "👨‍👩‍👧" * 60,
    "quotes": '"' * 300,
    "JSON": '{"a":"b"}' * 33,
    "backslashes": "\\" * 300,
    "line breaks": "a\n" * 150,
    "control characters": "a\0\x1b\x7f" * 100,
    "a change of direction": "\u202eabc" * 75,
    "markdown": "**[x](y)**`z`" * 23,
}


@pytest.mark.parametrize("channel", ["dingtalk", "feishu", "wecom"])
@pytest.mark.parametrize("secret", ["", SECRET])
@pytest.mark.parametrize("text", TEXTS)
def test_a_storm_of_alerts_fits_after_it_became_json(
    channel: Channel, secret: str, text: str
) -> None:
    words = TEXTS[text]
    storm = [alert(summary=words, description=words, runbook_url=words) for _ in range(200)]
    labels = {"alertname": words, "job": words}
    content = ROBOTS[channel].write(parse(webhook(*storm, commonLabels=labels)), secret, NOW)

    shown = json.loads(content.content)
    if channel == "wecom":
        shown = shown["markdown"]["content"]
        assert bytes_in_json(shown) <= 4096
    else:
        assert 14_000 < len(content.content) <= 20_000, "it is used well, and not exceeded"
    [number] = re.findall(r"… and (\d+) more", json.dumps(shown, ensure_ascii=False))
    assert 0 < int(number) < 200


@given(text=st.text(max_size=900), count=st.integers(0, 60))
def test_any_text_fits_every_robot(text: str, count: int) -> None:
    alerts = [alert(summary=text, description=text, runbook_url=text) for _ in range(count)]
    notice = parse(webhook(alerts=alerts, commonLabels={"alertname": text}, status="firing"))
    assert len(dingtalk(notice, SECRET, NOW).content) <= 20_000
    assert len(feishu(notice, SECRET, NOW).content) <= 20_000
    content = json.loads(wecom(notice, SECRET, NOW).content)["markdown"]["content"]
    assert bytes_in_json(content) <= 4096


def test_a_webhook_gets_alertmanagers_body() -> None:
    body = webhook()
    assert ROBOTS["webhook"].write(parse(body), "", NOW).content == body


# ── Responses ────────────────────────────────────────────────────────────────────────────────────

RESPONSES: list[tuple[str, int, bytes, Outcome]] = [
    ("dingtalk", 200, b'{"errcode":0,"errmsg":"ok"}', "delivered"),
    ("dingtalk", 200, b'{"errcode":310000,"errmsg":"sign not match"}', "refused"),
    ("dingtalk", 200, b'{"errcode":130101,"errmsg":"send too fast"}', "rate_limited"),
    ("dingtalk", 200, b'{"errcode":-1,"errmsg":"busy"}', "unreachable"),
    ("feishu", 200, b'{"code":0,"msg":"success"}', "delivered"),
    ("feishu", 200, b'{"code":19021,"msg":"sign match fail"}', "refused"),
    ("feishu", 200, b'{"code":11232,"msg":"limited"}', "rate_limited"),
    ("wecom", 200, b'{"errcode":0,"errmsg":"ok"}', "delivered"),
    ("wecom", 200, b'{"errcode":93000,"errmsg":"invalid webhook url"}', "refused"),
    ("wecom", 200, b'{"errcode":45009,"errmsg":"api freq out of limit"}', "rate_limited"),
    ("wecom", 200, b"<html>log in first</html>", "refused"),
    ("wecom", 200, b"{}", "refused"),
    ("wecom", 200, b'{"errcode":"many"}', "refused"),
    ("wecom", 200, b"[]", "refused"),
    ("wecom", 302, b"", "refused"),
    ("wecom", 404, b"", "refused"),
    ("wecom", 429, b"", "rate_limited"),
    ("wecom", 502, b"", "unreachable"),
    ("webhook", 200, b"anything", "delivered"),
    ("webhook", 204, b"", "delivered"),
    ("webhook", 401, b"", "refused"),
]


@pytest.mark.parametrize(("channel", "status", "body", "outcome"), RESPONSES)
def test_the_robots_code_decides_the_outcome(
    channel: str, status: int, body: bytes, outcome: Outcome
) -> None:
    robot = next(robot for name, robot in ROBOTS.items() if name == channel)
    verdict = robot.judge(status, body)
    assert verdict.outcome == outcome
    assert bool(verdict.reason) == (outcome != "delivered")


def test_the_reason_is_one_short_line_with_the_robots_code_and_message() -> None:
    body = json.dumps({"errcode": 310000, "errmsg": "not\nin whitelist " + "x" * 1000}).encode()
    reason = ROBOTS["dingtalk"].judge(200, body).reason
    assert reason.startswith("it returned errcode 310000: not in whitelist")
    assert len(reason) < 250


def test_channels_and_outcomes_are_those_of_the_catalogue() -> None:
    assert set(ROBOTS) == set(CHANNEL.values or ())
    assert {outcome for *_, outcome in RESPONSES} == set(DELIVERY.values or ())
