"""`safelight up` uses a changed monitoring file; the real thing is in tests/cli/test_up.py."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from safelight.errors import BadSetting
from safelight.stack.local import ALERTMANAGER, PROMETHEUS, RELAY_TOKEN, Plan
from safelight.stack.programs import Program
from safelight.stack.reloading import Reloading
from safelight.stack.services import ALERT_RELAY

SENT: list[tuple[int, int]] = []


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    SENT.clear()
    monkeypatch.setattr(os, "kill", lambda pid, number: SENT.append((pid, number)))


def planned(state: Path, *names: str) -> Plan:
    programs = [Program(name, (), "127.0.0.1", 1, "/", "") for name in names]
    return Plan(tuple(programs), {state / "rules.yml": "new", state / RELAY_TOKEN: "new"}, state)


def reloaded(state: Path, plan_again: Callable[[], Plan], *names: str) -> list[str]:
    """Reload a stack with these programs, and return what it reports."""
    (state / RELAY_TOKEN).parent.mkdir()
    for name in ("rules.yml", RELAY_TOKEN):
        (state / name).write_text("old")
    stack = Mock(plan=planned(state, *names), pid=len)
    reports: list[str] = []
    reloading = Reloading(stack, plan_again, reports.append)
    reloading.look()
    assert not reports
    assert not SENT
    reloading.ask()
    reloading.look()
    reloading.look()
    return reports


def test_the_files_are_written_and_prometheus_and_alertmanager_read_them(tmp_path: Path) -> None:
    names = (PROMETHEUS, ALERTMANAGER)
    assert reloaded(tmp_path, lambda: planned(tmp_path, *names), *names) == [
        "reloaded the limits and receivers"
    ]
    assert (tmp_path / "rules.yml").read_text() == "new"
    assert [pid for pid, _ in SENT] == [len(PROMETHEUS), len(ALERTMANAGER)]


def test_the_relay_keeps_its_token_and_its_receivers(tmp_path: Path) -> None:
    names = (PROMETHEUS, ALERT_RELAY)
    reports = reloaded(tmp_path, lambda: planned(tmp_path, *names), *names)
    assert "stay until `safelight up` starts again" in reports[-1]
    assert (tmp_path / RELAY_TOKEN).read_text() == "old"


def test_a_wrong_monitoring_file_changes_nothing(tmp_path: Path) -> None:
    def wrong() -> Plan:
        raise BadSetting("The monitoring file is wrong.")

    reports = reloaded(tmp_path, wrong, PROMETHEUS)
    assert reports == ["not reloaded: The monitoring file is wrong."]
    assert (tmp_path / "rules.yml").read_text() == "old"
    assert SENT == []


def test_programs_that_do_not_run_are_not_started_in_silence(tmp_path: Path) -> None:
    def more() -> Plan:
        return planned(tmp_path, PROMETHEUS, ALERT_RELAY)

    reports = reloaded(tmp_path, more, PROMETHEUS)
    assert "other programs are needed" in reports[0]
    assert (tmp_path / "rules.yml").read_text() == "old"
    assert SENT == []
