"""Deliver alerts with the real Alertmanager to test receivers."""

import base64
import hmac
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.asking import HTTP
from tests.cli.running import started
from tests.stack.receivers import (
    IN_TIME_SECONDS,
    OK,
    QUICK,
    Alertmanager,
    Post,
    Receiver,
    alertmanager,
    receiver,
)
from tests.stack.waiting import eventually, free_ports
from tests.stack.webhooks import webhook

REFUSED = b'{"errcode": 310000, "errmsg": "sign not match"}'
HOOK = '[receivers.hook]\nkind = "webhook"\nurl = "{url}"\n[routes]\ncritical = ["hook"]\n'


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def manager(hook: Receiver, tmp_path: Path) -> Iterator[Alertmanager]:
    """Run an Alertmanager that sends critical alerts to the webhook."""
    with alertmanager(tmp_path, HOOK.format(url=hook.url) + QUICK) as running:
        yield running


def instances(post: Post) -> list[str]:
    return sorted(one["labels"]["instance"] for one in post.json["alerts"])


# ── Grouping, inhibition, resolution ─────────────────────────────────────────────────────────────


def test_a_critical_alert_reaches_slack_with_its_value_and_its_job(
    hook: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "slack").write_text(f"{hook.url}\n")
    text = '[receivers.phone]\nkind = "slack"\nurl_file = "slack"\n[routes]\ncritical = ["phone"]\n'
    hook.reply = lambda _: b"ok"
    with alertmanager(tmp_path, text + QUICK) as manager:
        manager.fire("HighP95Latency", instance="<!channel>")
        message = hook.next().json
    assert message["channel"] == "#safelight"
    attachment = message["attachments"][0]
    assert attachment["title"] == "[FIRING] HighP95Latency (safelight)"
    assert "P95 is 16s; the limit is 15 s." in attachment["text"]
    assert "docs/alerts.md#highp95latency" in attachment["text"]
    assert "<!" not in attachment["text"], "a label must not mention the whole channel"


def test_alerts_of_one_group_arrive_together_and_so_does_their_resolution(
    hook: Receiver, manager: Alertmanager
) -> None:
    manager.fire("VramLeak", instance="a")
    manager.fire("VramLeak", instance="b")
    fired = hook.next()
    if instances(fired) == ["a"]:  # on a slow machine the second alert can miss the group wait
        fired = hook.next()
    assert instances(fired) == ["a", "b"]
    assert fired.json["status"] == "firing"

    manager.resolve("VramLeak", instance="a")
    manager.resolve("VramLeak", instance="b")
    while (last := hook.next()).json["status"] == "firing":
        pass
    assert "resolved" in {one["status"] for one in last.json["alerts"]}


@pytest.mark.parametrize(
    ("urgent", "minor", "label"),
    [
        ("TargetDown", "HighP95Latency", "instance"),
        ("VramNearlyFull", "GpuMemoryHigh", "gpu"),
        ("ErrorBudgetBurnFast", "ErrorBudgetLeaking", "objective"),
    ],
)
def test_a_less_urgent_alert_with_the_same_cause_is_muted(
    urgent: str, minor: str, label: str, hook: Receiver, manager: Alertmanager
) -> None:
    here = {"instance": "here", label: "here"}
    manager.fire(urgent, **here)
    hook.next()
    manager.fire(minor, **here)
    manager.fire(minor, **{**here, label: "elsewhere"})
    post = hook.next()
    assert [one["labels"][label] for one in post.json["alerts"]] == ["elsewhere"]
    alerts = HTTP.get(f"{manager.url}/api/v2/alerts", params={"filter": f"{label}=here"}).json()
    states = {one["labels"]["alertname"]: one["status"]["state"] for one in alerts}
    assert states == {urgent: "active", minor: "suppressed"}


def test_a_severity_without_a_route_is_not_sent(hook: Receiver, manager: Alertmanager) -> None:
    manager.fire("Small", severity="warning", instance="quiet")
    manager.fire("Large", instance="loud")
    assert instances(hook.next()) == ["loud"]
    assert hook.gets_nothing(0.6)
    assert manager.states() == {"Small": "active", "Large": "active"}


def test_mute_hours_apply_to_warnings_and_not_to_critical_alerts(
    hook: Receiver, tmp_path: Path
) -> None:
    days = '"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"'
    text = HOOK.format(url=hook.url) + 'warning = ["hook"]\n[[mute]]\nname = "always"\n'
    with alertmanager(tmp_path, text + f"weekdays = [{days}]\n" + QUICK) as manager:
        manager.fire("Small", severity="warning", instance="muted")
        manager.fire("Large", instance="loud")
        assert instances(hook.next()) == ["loud"]
        assert hook.gets_nothing(0.6)


# ── Receivers that are down ──────────────────────────────────────────────────────────────────────


def test_a_receiver_that_was_down_is_notified_when_it_is_back(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/hook"
    with alertmanager(tmp_path, HOOK.format(url=url) + QUICK) as manager:
        manager.fire("TargetDown", instance="here")
        eventually(
            lambda: manager.count("notification_requests_failed_total"),
            within=IN_TIME_SECONDS,
            what="a first try fails",
        )
        with receiver(port) as hook:
            assert instances(hook.next()) == ["here"]


# ── E-mail ───────────────────────────────────────────────────────────────────────────────────────


class Mailbox:
    """The e-mails that arrive."""

    def __init__(self) -> None:
        self.mails: Queue[Envelope] = Queue()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.put(envelope)
        return "250 OK"


def test_an_alert_arrives_by_email_with_its_title_and_value(tmp_path: Path) -> None:
    mailbox = Mailbox()
    [port] = free_ports(1)
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    text = (
        '[receivers.mail]\nkind = "email"\nto = ["a@example.org", "b@example.org"]\n'
        f'sender = "safelight@example.org"\nsmarthost = "127.0.0.1:{port}"\nrequire_tls = false\n'
        '[routes]\ncritical = ["mail"]\n'
    )
    server.start()
    try:
        with alertmanager(tmp_path, text + QUICK) as manager:
            manager.fire("HighP95Latency", instance="here")
            mail = mailbox.mails.get(timeout=IN_TIME_SECONDS)
    finally:
        server.stop()
    assert mail.rcpt_tos == ["a@example.org", "b@example.org"]
    assert mail.mail_from == "safelight@example.org"
    assert isinstance(mail.content, bytes)
    content = mail.content.decode()
    assert "Subject: [FIRING] HighP95Latency (safelight)" in content
    assert "P95 is 16s" in content.replace("=\r\n", "")


# ── Robots, through the relay ────────────────────────────────────────────────────────────────────

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
    options = ("--monitoring", str(folder / "monitoring.toml"), "--port", str(port))
    with (
        started(folder / "relay", "alert-relay", *options) as command,
        alertmanager(folder, text, relay_url=relay) as manager,
    ):
        eventually(lambda: is_up(relay), within=30, what="the relay is up")
        yield manager, relay
        assert command.process.poll() is None, command.err


def is_up(relay: str) -> bool:
    try:
        return HTTP.get(f"{relay}/healthz").is_success
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
            assert HTTP.post(f"{relay}/wecom", content=webhook()).is_success
            assert HTTP.post(f"{relay}/unknown", content=webhook()).status_code == 404
            assert command.send(number) == 0
        assert "the limit is 15 s" in TEXT["wecom"](robot.next().json)
    output = command.err + command.out
    assert '"message":"notified"' in output
    assert not re.search("hidden|the limit is|Traceback", output)
