"""The stack of `safelight up`, with small real programs."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import psutil
import pytest

from safelight.errors import BadSetting, PortTaken, ServiceFailed
from safelight.settings import load
from safelight.stack import local
from safelight.stack.local import Plan, Stack, Wait
from tests.stack.test_local import settings
from tests.stack.test_programs import web
from tests.stack.waiting import all_gone, eventually


class Harness:
    """A stack of small web servers, and its reports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[str] = []
        self.stack: Stack | None = None

    def build(self, plan: Plan, wait: Wait, **chosen: object) -> Stack:
        self.stack = Stack(plan, settings(self.folder, **chosen), self.reports.append, wait)
        return self.stack

    def start(self, *names: str, wait: Wait | None = None, **chosen: object) -> Stack:
        programs = tuple(web(name, self.folder) for name in names)
        stack = self.build(Plan(programs, {}, self.folder / "state"), wait or pause, **chosen)
        assert stack.start()
        return stack

    def processes(self, *names: str) -> list[psutil.Process]:
        assert self.stack is not None
        return [psutil.Process(self.stack.pid(name)) for name in names]


def pause(_seconds: float) -> bool:
    return threading.Event().wait(0.05)


def until(done: Callable[[], bool], action: Callable[[], None] = lambda: None) -> Wait:
    """Return a wait that calls `action` each time, and stops the stack when `done` is true."""
    deadline = monotonic() + 60

    def wait(_seconds: float) -> bool:
        assert monotonic() < deadline, "the stack did not report it in time"
        action()
        return threading.Event().wait(0.05) or done()

    return wait


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    if harness.stack is not None:
        harness.stack.stop()


def test_dashboards_of_an_earlier_version_are_deleted_at_the_start(harness: Harness) -> None:
    boards = harness.folder / "state" / "boards"
    boards.mkdir(parents=True)
    (boards / "safelight-old.json").write_text('{"uid": "safelight-old", "tags": ["safelight"]}')
    (boards / "mine.json").write_text('{"uid": "mine", "tags": ["mine"]}')
    files = {boards / "safelight-new.json": "{}"}
    stack = harness.build(Plan((web("one", harness.folder),), files, boards.parent), pause)
    assert stack.start()
    assert {path.name for path in boards.iterdir()} == {"safelight-new.json", "mine.json"}


def test_a_stack_starts_and_stops_every_program(harness: Harness) -> None:
    stack = harness.start("one", "two")
    processes = harness.processes("one", "two")
    assert not all_gone(processes)
    stack.stop()
    assert all_gone(processes)
    assert harness.reports == ["starting one", "starting two", "stopping"]
    stack.stop()
    assert harness.reports[-1:] == ["stopping"]


def test_files_and_logs_are_in_the_state_folder(harness: Harness) -> None:
    state = harness.folder / "state"
    programs = (web("one", harness.folder),)
    stack = harness.build(Plan(programs, {state / "config/a.yml": "a: 1\n"}, state), pause)
    stack.start()
    assert (state / "config/a.yml").read_text() == "a: 1\n"
    assert (state / "logs/one.log").is_file()
    private = (state, state / "logs", state / "logs/one.log", state / "config/a.yml")
    assert not [path for path in private if path.stat().st_mode & 0o077]


def test_nothing_starts_if_one_port_is_taken(harness: Harness) -> None:
    programs = tuple(web(name, harness.folder) for name in ("one", "two"))
    stack = harness.build(Plan(programs, {}, harness.folder), pause)
    with (
        socket.create_server(("127.0.0.1", programs[1].port)),
        pytest.raises(PortTaken, match="for two is already in use"),
    ):
        stack.start()
    stack.stop()
    assert harness.reports == []


def test_a_state_folder_that_cannot_be_written_is_a_bad_setting(harness: Harness) -> None:
    (harness.folder / "file").touch()
    bad = Plan((web("one", harness.folder),), {}, harness.folder / "file/state")
    with pytest.raises(BadSetting, match=r"file/state cannot be written.*--state-folder"):
        harness.build(bad, pause).start()


def test_a_program_that_ends_at_once_fails_the_start(harness: Harness) -> None:
    code = "raise SystemExit('no such model')"
    bad = Plan((web("one", harness.folder, code),), {}, harness.folder)
    with pytest.raises(ServiceFailed, match="ended with code 1: no such model"):
        harness.build(bad, pause).start()


def test_a_program_that_answers_no_more_is_restarted(harness: Harness) -> None:
    stack = harness.start("one", wait=None)
    [before] = harness.processes("one")
    before.suspend()  # SIGSTOP
    stack._silence_seconds = 0.5
    stack._wait = until(lambda: "one is ready again" in harness.reports)
    stack.follow()
    assert any(re.fullmatch(r"one has not answered for \d+ s", r) for r in harness.reports)
    assert "one ended by SIGKILL; restarting it" in harness.reports
    assert all_gone([before])


def test_the_user_can_stop_the_start(harness: Harness) -> None:
    code = "import threading; threading.Event().wait(60)"
    slow = Plan((web("slow", harness.folder, code),), {}, harness.folder)
    assert not harness.build(slow, lambda _seconds: True).start()


@pytest.mark.parametrize(
    ("loads", "message"),
    [
        (False, r"slow is still starting after \d+ s"),
        (True, r"slow is still loading its model after \d+ s; a large model takes minutes"),
    ],
)
def test_a_long_start_reports_progress(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, message: str, *, loads: bool
) -> None:
    monkeypatch.setattr(local, "_PROGRESS_SECONDS", 0.1)
    code = "import threading; threading.Event().wait(60)"
    served = {"slow": load()} if loads else {}
    slow = Plan((web("slow", harness.folder, code),), {}, harness.folder, served)
    wait = until(lambda: len(harness.reports) >= 3)
    assert not harness.build(slow, wait).start()
    assert re.fullmatch(message, harness.reports[1])


def test_a_killed_program_is_restarted_and_reported(harness: Harness) -> None:
    state = {"killed": False}

    def done() -> bool:
        if not state["killed"] and "starting two" in harness.reports:
            os.kill(harness.processes("one")[0].pid, signal.SIGKILL)
            state["killed"] = True
        return "one is ready again" in harness.reports

    stack = harness.start("one", "two")
    stack._wait = until(done)
    stack.follow()
    assert "one ended by SIGKILL; restarting it" in harness.reports
    assert not all_gone(harness.processes("one", "two"))


def test_a_program_that_is_not_ready_is_reported_and_so_is_its_recovery(harness: Harness) -> None:
    unready = harness.folder / "unready"

    def recover() -> None:
        if "one is not ready" in harness.reports:
            unready.unlink(missing_ok=True)

    stack = harness.start("one")
    unready.touch()
    stack._wait = until(lambda: "one is ready again" in harness.reports, recover)
    stack.follow()
    assert harness.reports[-2:] == ["one is not ready", "one is ready again"]


def _kill_each_time(harness: Harness) -> Wait:
    def kill() -> None:
        [process] = harness.processes("one")
        if process.status() != psutil.STATUS_ZOMBIE:
            process.kill()

    return until(lambda: sum("restarting it" in text for text in harness.reports) > 4, kill)


def test_a_program_that_ends_too_often_stops_the_stack(harness: Harness) -> None:
    stack = harness.start("one", restart_limit=2)
    stack._wait = _kill_each_time(harness)
    with pytest.raises(ServiceFailed, match="one ended 3 times") as raised:
        stack.follow()
    assert raised.value.exit_code == 1
    assert sum("restarting it" in text for text in harness.reports) == 2


def test_failures_with_long_pauses_do_not_count_as_repetitions(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_HEALTHY_SECONDS", 0.0)
    stack = harness.start("one", restart_limit=1)
    stack._wait = _kill_each_time(harness)
    stack.follow()
    assert sum("restarting it" in text for text in harness.reports) == 5


def test_every_program_stops_even_if_one_ended_before(harness: Harness) -> None:
    stack = harness.start("one", "two")
    first, second = harness.processes("one", "two")
    first.kill()
    eventually(lambda: all_gone([first]), within=10, what="the first is gone")
    stack.stop()
    assert all_gone([first, second])
