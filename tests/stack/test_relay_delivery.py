"""Deliver alerts to robots with the real Alertmanager and the alert relay."""

import base64
import hmac
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.asking import HTTP
from tests.certificates import pair
from tests.cli.running import started
from tests.stack.receivers import (
    IN_TIME_SECONDS,
    OK,
    QUICK,
    Alertmanager,
    Post,
    alertmanager,
    receiver,
)
from tests.stack.waiting import eventually, free_ports
from tests.stack.webhooks import webhook

REFUSED = b'{"errcode": 310000, "errmsg": "sign not match"}'


ROBOT = '[receivers.{name}]\nkind = "{name}"\nurl_file = "{name}"\n'
SECRETS = {"dingtalk": "SEC-ding", "feishu": "SEC-lark", "wecom": ""}


def signed_for_dingtalk(post: Post, secret: str) -> bool:
    """Return True if a message has DingTalk's signature."""
    timestamp = post.query["timestamp"]
    signature = hmac.digest(secret.encode(), f"{timestamp}\n{secret}".encode(), "sha256")
    return post.query["sign"] == base64.b64encode(signature).decode()


def signed_for_feishu(post: Post, secret: str) -> bool:
    """Return True if a message has Feishu's signature."""
    signature = hmac.digest(f"{post.json['timestamp']}\n{secret}".encode(), b"", "sha256")
    return bool(post.json["sign"] == base64.b64encode(signature).decode())


SIGNED: dict[str, Callable[[Post, str], bool]] = {
    "dingtalk": signed_for_dingtalk,
    "feishu": signed_for_feishu,
    "wecom": lambda post, _: post.query == {"access_token": "hidden"},
}
TEXT: dict[str, Callable[[Any], str]] = {
    "dingtalk": lambda body: str(body["markdown"]["text"]),
    "feishu": lambda body: str(body["card"]["elements"][0]["text"]["content"]),
    "wecom": lambda body: str(body["markdown"]["content"]),
}


SENT = {"content-type": "application/json", "authorization": "Bearer a-token"}


@contextmanager
def relayed(folder: Path, robots: dict[str, str]) -> Iterator[tuple[Alertmanager, str]]:
    """Run Alertmanager and the relay for robots at these addresses; return both."""
    text = ""
    for name, url in robots.items():
        (folder / name).write_text(url)
        (folder / f"{name}_secret").write_text(SECRETS[name])
        text += ROBOT.format(name=name)
        text += f'secret_file = "{name}_secret"\n' if SECRETS[name] else ""
    text += f"[routes]\ncritical = {[*robots]}\n" + QUICK
    (folder / "monitoring.toml").write_text(text)
    [port] = free_ports(1)
    relay = f"http://127.0.0.1:{port}"
    token = folder / "token"
    token.write_text("a-token")
    file = str(folder / "monitoring.toml")
    options = ("--monitoring", file, "--port", str(port), "--relay-token-file", str(token))
    with (
        started(folder / "relay", "alert-relay", *options) as command,
        alertmanager(folder, text, relay_url=relay, relay_token_file=token) as manager,
    ):
        eventually(lambda: is_up(relay), within=30, what="the relay is up")
        yield manager, relay
        assert command.process.poll() is None, command.err


def is_up(relay: str, client: httpx.Client = HTTP) -> bool:
    try:
        return client.get(f"{relay}/healthz").is_success
    except httpx.HTTPError:
        return False


def counted(relay: str, channel: str, outcome: str) -> float:
    name = f'safelight_notifications_total{{channel="{channel}",outcome="{outcome}"}} '
    [line] = re.findall(re.escape(name) + r"([\d.]+)", HTTP.get(f"{relay}/metrics").text)
    return float(line)


def test_every_robot_gets_the_alert_and_its_resolution_with_its_signature(tmp_path: Path) -> None:
    with receiver() as ding, receiver() as lark, receiver() as work:
        robots = {"dingtalk": ding, "feishu": lark, "wecom": work}
        with relayed(tmp_path, {name: robot.url for name, robot in robots.items()}) as (
            manager,
            relay,
        ):
            manager.fire("HighP95Latency", instance="here")
            for name, robot in robots.items():
                post = robot.next()
                assert SIGNED[name](post, SECRETS[name]), name
                assert "P95 is 16s; the limit is 15 s." in TEXT[name](post.json)
                assert "FIRING" in post.body.decode()
            manager.resolve("HighP95Latency", instance="here")
            for name, robot in robots.items():
                assert "RESOLVED" in robot.next().body.decode(), name
            for name in robots:
                eventually(
                    lambda: counted(relay, name, "delivered") == 2,  # noqa: B023
                    within=IN_TIME_SECONDS,
                    what=f"{name} is counted",
                )


def test_a_wrong_secret_fails_until_it_is_corrected(tmp_path: Path) -> None:
    with receiver() as robot, relayed(tmp_path, {"dingtalk": robot.url}) as (manager, relay):
        robot.reply = lambda post: OK if signed_for_dingtalk(post, "SEC-right") else REFUSED
        manager.fire("TargetDown", instance="here")
        assert not signed_for_dingtalk(robot.next(), "SEC-right")
        eventually(
            lambda: manager.count("notifications_failed_total"),
            within=IN_TIME_SECONDS,
            what="Alertmanager counts the failure",
        )
        assert counted(relay, "dingtalk", "refused") >= 1
        assert counted(relay, "dingtalk", "delivered") == 0

        (tmp_path / "dingtalk_secret").write_text("SEC-right\n")
        eventually(
            lambda: counted(relay, "dingtalk", "delivered") == 1,
            within=IN_TIME_SECONDS,
            what="it is delivered without a restart",
        )


def test_a_robot_that_was_down_is_notified_when_it_is_back(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/hook?key=hidden"
    with relayed(tmp_path, {"wecom": url}) as (manager, relay):
        manager.fire("TargetDown", instance="here")
        eventually(
            lambda: counted(relay, "wecom", "unreachable"),
            within=IN_TIME_SECONDS,
            what="the relay gives up for the first time",
        )
        with receiver(port) as robot:
            assert "TargetDown" in TEXT["wecom"](robot.next().json)
            eventually(
                lambda: counted(relay, "wecom", "delivered") == 1,
                within=IN_TIME_SECONDS,
                what="it is counted",
            )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_relay_stops_on_a_signal_and_its_log_contains_no_secret(
    number: signal.Signals, tmp_path: Path
) -> None:
    text = ROBOT.format(name="wecom") + '[routes]\ncritical = ["wecom"]\n'
    (tmp_path / "monitoring.toml").write_text(text)
    [port] = free_ports(1)
    options = ("--monitoring", str(tmp_path / "monitoring.toml"), "--port", str(port))
    with receiver() as robot:
        (tmp_path / "wecom").write_text(robot.url)
        with started(tmp_path / "relay", "alert-relay", *options) as command:
            relay = f"http://127.0.0.1:{port}"
            eventually(lambda: is_up(relay), within=30, what="the relay is up")
            assert HTTP.post(f"{relay}/wecom", content=webhook(), headers=SENT).is_success
            assert HTTP.post(f"{relay}/unknown", content=webhook(), headers=SENT).status_code == 404
            assert command.send(number) == 0
        assert "the limit is 15 s" in TEXT["wecom"](robot.next().json)
    output = command.err + command.out
    assert '"message":"notified"' in output
    assert not re.search("hidden|the limit is|Traceback", output)


def test_alertmanager_reaches_a_relay_over_https(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, [port] = pair(tmp_path), free_ports(1)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))  # for Alertmanager
    text = f'relay_url = "https://localhost:{port}"\n' + ROBOT.format(name="wecom")
    text += '[routes]\ncritical = ["wecom"]\n' + QUICK
    (tmp_path / "monitoring.toml").write_text(text)
    options = ("--monitoring", str(tmp_path / "monitoring.toml"), "--port", str(port))
    tls = ("--tls-certificate", str(made.certificate), "--tls-key", str(made.key))
    with receiver() as work:
        (tmp_path / "wecom").write_text(work.url)
        with (
            started(tmp_path / "relay", "alert-relay", *options, *tls),
            alertmanager(tmp_path, text) as manager,
            httpx.Client(verify=made.known()) as client,
        ):
            relay = f"https://localhost:{port}"
            eventually(lambda: is_up(relay, client), within=30, what="the relay is up")
            manager.fire("HighP95Latency", instance="here")
            assert "FIRING" in work.next().body.decode()
