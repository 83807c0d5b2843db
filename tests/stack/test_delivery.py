"""Deliver alerts with the real Alertmanager to test receivers."""

from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.asking import HTTP
from tests.stack.receivers import (
    IN_TIME_SECONDS,
    QUICK,
    Alertmanager,
    Post,
    Receiver,
    alertmanager,
    receiver,
)
from tests.stack.waiting import eventually, free_ports

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
    assert attachment["title"] == "[FIRING critical] HighP95Latency (safelight)"
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
    labels = [one["labels"] for one in post.json["alerts"]]  # the urgent one is in the same group
    assert [one[label] for one in labels if one["alertname"] == minor] == ["elsewhere"]
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
    assert "Subject: [FIRING critical] HighP95Latency (safelight)" in content
    assert "P95 is 16s" in content.replace("=\r\n", "")
