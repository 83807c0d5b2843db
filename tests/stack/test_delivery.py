"""The real Alertmanager tells receivers of our own: what fires, what is silenced, what failed."""

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
from tests.stack.telling import webhook
from tests.stack.waiting import eventually, free_ports

REFUSED = b'{"errcode": 310000, "errmsg": "sign not match"}'
HOOK = '[receivers.hook]\nkind = "webhook"\nurl = "{url}"\n[routes]\ncritical = ["hook"]\n'


@pytest.fixture
def heard() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def told(heard: Receiver, tmp_path: Path) -> Iterator[Alertmanager]:
    """Return an Alertmanager whose critical alerts go to a webhook."""
    with alertmanager(tmp_path, HOOK.format(url=heard.url) + QUICK) as made:
        yield made


def names(post: Post) -> list[str]:
    return sorted(each["labels"]["instance"] for each in post.json["alerts"])


# ── Fire, group, inhibit, resolve ────────────────────────────────────────────────────────────────


def test_a_critical_alert_reaches_slack_with_its_value_and_its_job(
    heard: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "slack").write_text(f"{heard.url}\n")
    text = '[receivers.phone]\nkind = "slack"\nurl_file = "slack"\n[routes]\ncritical = ["phone"]\n'
    heard.reply = lambda _: b"ok"
    with alertmanager(tmp_path, text + QUICK) as told:
        told.tell("HighP95Latency", instance="<!channel>")
        message = heard.next().json
    assert message["channel"] == "#safelight"
    attachment = message["attachments"][0]
    assert attachment["title"] == "[FIRING] HighP95Latency (safelight)"
    assert "P95 is 16s; the limit is 15 s." in attachment["text"]
    assert "docs/alerts.md#highp95latency" in attachment["text"]
    assert "<!" not in attachment["text"], "a label must not call the whole channel"


def test_alerts_of_one_story_come_together_and_their_end_is_told(
    heard: Receiver, told: Alertmanager
) -> None:
    told.tell("VramLeak", instance="a")
    told.tell("VramLeak", instance="b")
    fired = heard.next()
    if names(fired) == ["a"]:  # a slow machine may take longer than the group waits
        fired = heard.next()
    assert names(fired) == ["a", "b"]
    assert fired.json["status"] == "firing"

    told.end("VramLeak", instance="a")
    told.end("VramLeak", instance="b")
    while (last := heard.next()).json["status"] == "firing":
        pass
    assert "resolved" in {each["status"] for each in last.json["alerts"]}


@pytest.mark.parametrize(
    ("louder", "quieter", "label"),
    [
        ("TargetDown", "HighP95Latency", "instance"),
        ("VramNearlyFull", "GpuMemoryHigh", "gpu"),
        ("ErrorBudgetBurnFast", "ErrorBudgetLeaking", "objective"),
    ],
)
def test_what_tells_the_same_story_less_urgently_is_silent(
    louder: str, quieter: str, label: str, heard: Receiver, told: Alertmanager
) -> None:
    here = {"instance": "here", label: "here"}
    told.tell(louder, **here)
    heard.next()
    told.tell(quieter, **here)
    told.tell(quieter, **{**here, label: "elsewhere"})
    post = heard.next()
    assert [each["labels"][label] for each in post.json["alerts"]] == ["elsewhere"]
    answer = HTTP.get(f"{told.url}/api/v2/alerts", params={"filter": f"{label}=here"}).json()
    states = {each["labels"]["alertname"]: each["status"]["state"] for each in answer}
    assert states == {louder: "active", quieter: "suppressed"}


def test_a_lower_severity_goes_where_its_route_says_and_else_nowhere(
    heard: Receiver, told: Alertmanager
) -> None:
    told.tell("Small", severity="warning", instance="quiet")
    told.tell("Large", instance="loud")
    assert names(heard.next()) == ["loud"]
    assert heard.hears_nothing(0.6)
    assert told.states() == {"Small": "active", "Large": "active"}


def test_muted_hours_keep_warnings_and_let_through_what_is_critical(
    heard: Receiver, tmp_path: Path
) -> None:
    days = '"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"'
    text = HOOK.format(url=heard.url) + 'warning = ["hook"]\n[[mute]]\nname = "always"\n'
    with alertmanager(tmp_path, text + f"weekdays = [{days}]\n" + QUICK) as told:
        told.tell("Small", severity="warning", instance="muted")
        told.tell("Large", instance="loud")
        assert names(heard.next()) == ["loud"]
        assert heard.hears_nothing(0.6)


# ── A receiver that is down, and back ────────────────────────────────────────────────────────────


def test_a_receiver_that_was_down_is_told_once_it_is_back(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/hook"
    with alertmanager(tmp_path, HOOK.format(url=url) + QUICK) as told:
        told.tell("TargetDown", instance="here")
        eventually(
            lambda: told.count("notification_requests_failed_total"),
            within=IN_TIME_SECONDS,
            what="a first try fails",
        )
        with receiver(port) as back:
            assert names(back.next()) == ["here"]


# ── E-mail ───────────────────────────────────────────────────────────────────────────────────────


class Mailbox:
    """What arrives by e-mail."""

    def __init__(self) -> None:
        self.mails: Queue[Envelope] = Queue()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.put(envelope)
        return "250 OK"


def test_an_alert_arrives_by_mail_with_its_title_and_value(tmp_path: Path) -> None:
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
        with alertmanager(tmp_path, text + QUICK) as told:
            told.tell("HighP95Latency", instance="here")
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


def by_dingtalk(post: Post, secret: str) -> bool:
    """Tell whether a message is signed, as DingTalk would."""
    moment = post.query["timestamp"]
    whole = hmac.digest(secret.encode(), f"{moment}\n{secret}".encode(), "sha256")
    return post.query["sign"] == base64.b64encode(whole).decode()


def by_feishu(post: Post, secret: str) -> bool:
    """Tell whether a message is signed, as Feishu would."""
    whole = hmac.digest(f"{post.json['timestamp']}\n{secret}".encode(), b"", "sha256")
    return bool(post.json["sign"] == base64.b64encode(whole).decode())


SIGNED: dict[str, Callable[[Post, str], bool]] = {
    "dingtalk": by_dingtalk,
    "feishu": by_feishu,
    "wecom": lambda post, _: post.query == {"access_token": "hidden"},
}
TEXT: dict[str, Callable[[Any], str]] = {
    "dingtalk": lambda body: str(body["markdown"]["text"]),
    "feishu": lambda body: str(body["card"]["elements"][0]["text"]["content"]),
    "wecom": lambda body: str(body["markdown"]["content"]),
}


@contextmanager
def relayed(folder: Path, robots: dict[str, str]) -> Iterator[tuple[Alertmanager, str]]:
    """Run Alertmanager and the relay for robots at those addresses; return it and the address."""
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
        alertmanager(folder, text, relay_url=relay) as told,
    ):
        eventually(lambda: answers(relay), within=30, what="the relay answers")
        yield told, relay
        assert command.process.poll() is None, command.err


def answers(relay: str) -> bool:
    try:
        return HTTP.get(f"{relay}/healthz").is_success
    except httpx.HTTPError:
        return False


def counted(relay: str, channel: str, outcome: str) -> float:
    name = f'safelight_notifications_total{{channel="{channel}",outcome="{outcome}"}} '
    [line] = re.findall(re.escape(name) + r"([\d.]+)", HTTP.get(f"{relay}/metrics").text)
    return float(line)


def test_every_robot_hears_of_the_alert_and_its_end_signed_as_it_asks(tmp_path: Path) -> None:
    with receiver() as ding, receiver() as lark, receiver() as work:
        robots = {"dingtalk": ding, "feishu": lark, "wecom": work}
        with relayed(tmp_path, {name: robot.url for name, robot in robots.items()}) as (
            told,
            relay,
        ):
            told.tell("HighP95Latency", instance="here")
            for name, robot in robots.items():
                post = robot.next()
                assert SIGNED[name](post, SECRETS[name]), name
                assert "P95 is 16s; the limit is 15 s." in TEXT[name](post.json)
                assert "FIRING" in post.body.decode()
            told.end("HighP95Latency", instance="here")
            for name, robot in robots.items():
                assert "RESOLVED" in robot.next().body.decode(), name
            for name in robots:
                eventually(
                    lambda: counted(relay, name, "delivered") == 2,  # noqa: B023
                    within=IN_TIME_SECONDS,
                    what=f"{name} is counted",
                )


def test_a_wrong_secret_is_a_failed_notification_until_it_is_mended(tmp_path: Path) -> None:
    with receiver() as robot, relayed(tmp_path, {"dingtalk": robot.url}) as (told, relay):
        robot.reply = lambda post: OK if by_dingtalk(post, "SEC-right") else REFUSED
        told.tell("TargetDown", instance="here")
        assert not by_dingtalk(robot.next(), "SEC-right")
        eventually(
            lambda: told.count("notifications_failed_total"),
            within=IN_TIME_SECONDS,
            what="Alertmanager knows that nobody was told",
        )
        assert counted(relay, "dingtalk", "refused") >= 1
        assert counted(relay, "dingtalk", "delivered") == 0

        (tmp_path / "dingtalk_secret").write_text("SEC-right\n")
        eventually(
            lambda: counted(relay, "dingtalk", "delivered") == 1,
            within=IN_TIME_SECONDS,
            what="it is told without a restart",
        )


def test_a_robot_that_was_down_is_told_once_it_is_back(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/hook?key=hidden"
    with relayed(tmp_path, {"wecom": url}) as (told, relay):
        told.tell("TargetDown", instance="here")
        eventually(
            lambda: counted(relay, "wecom", "unreachable"),
            within=IN_TIME_SECONDS,
            what="the relay gives up for the first time",
        )
        with receiver(port) as back:
            assert "TargetDown" in TEXT["wecom"](back.next().json)
            eventually(
                lambda: counted(relay, "wecom", "delivered") == 1,
                within=IN_TIME_SECONDS,
                what="it is counted",
            )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_relay_ends_when_it_is_asked_and_its_log_holds_no_secret(
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
            eventually(lambda: answers(relay), within=30, what="the relay answers")
            assert HTTP.post(f"{relay}/wecom", content=webhook()).is_success
            assert HTTP.post(f"{relay}/nobody", content=webhook()).status_code == 404
            assert command.send(number) == 0
        assert "the limit is 15 s" in TEXT["wecom"](robot.next().json)
    said = command.err + command.out
    assert '"message":"notified"' in said
    assert not re.search("hidden|the limit is|Traceback", said)
