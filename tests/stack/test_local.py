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
import yaml

from safelight.errors import BadSetting, MissingProgram, PortTaken, ServiceFailed
from safelight.settings import Settings, load
from safelight.stack import local
from safelight.stack.local import (
    ALERT_RELAY,
    ALERTMANAGER,
    NODE_EXPORTER,
    PROMETHEUS,
    Plan,
    Stack,
    Wait,
    plan,
)
from safelight.stack.services import SERVICE
from tests.stack.test_programs import web
from tests.stack.waiting import all_gone, eventually, stub_programs

ALL = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")

# ── The plan ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *ALL))
    return tmp_path / "bin"


def settings(tmp_path: Path, **chosen: object) -> Settings:
    return load(state_folder=tmp_path / "state", **chosen)


@pytest.mark.usefixtures("programs")
def test_the_plan_starts_the_service_before_its_monitoring(tmp_path: Path) -> None:
    names = [program.name for program in plan(settings(tmp_path)).programs]
    assert names == [SERVICE, PROMETHEUS, ALERTMANAGER, NODE_EXPORTER]


@pytest.mark.usefixtures("programs")
def test_every_program_listens_on_its_configured_address(tmp_path: Path) -> None:
    planned = plan(
        settings(
            tmp_path,
            host="127.0.0.9",
            port=1001,
            prometheus_port=1002,
            alertmanager_port=1003,
            node_exporter_port=1004,
        )
    )
    for port, program in enumerate(planned.programs, 1001):
        assert program.url == f"http://127.0.0.9:{port}"
        command = " ".join(program.command)
        assert f"127.0.0.9:{port}" in command or f"--host 127.0.0.9 --port {port}" in command


@pytest.mark.usefixtures("programs")
def test_the_service_gets_the_settings_as_flags(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path,
        model="a/b",
        namespace="zimage",
        devices="cuda:1",
        precision="bfloat16",
        queue_limit=7,
        taxonomy=Path("types.yaml"),
    )
    command = plan(chosen).find(SERVICE).command
    for flag, value in (
        ("serve", "a/b"),
        ("--namespace", "zimage"),
        ("--devices", "cuda:1"),
        ("--precision", "bfloat16"),
        ("--queue-limit", "7"),
        ("--taxonomy", "types.yaml"),
    ):
        assert command[command.index(flag) + 1] == value


@pytest.mark.usefixtures("programs")
def test_prometheus_has_every_target_the_rules_and_alertmanager(tmp_path: Path) -> None:
    planned = plan(settings(tmp_path, port=1001, namespace="zimage"))
    files = {path.name: text for path, text in planned.files.items()}
    config = yaml.safe_load(files["prometheus.yml"])
    jobs = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}
    assert jobs[SERVICE] == [{"targets": ["127.0.0.1:1001"]}]
    assert jobs["node"] == [{"targets": ["127.0.0.1:9100"]}]
    [rules] = config["rule_files"]
    assert Path(rules) in planned.files
    assert "zimage_" in files["rules.yml"]
    assert "127.0.0.1:9093" in str(config["alerting"])
    assert "exemplar-storage" in " ".join(planned.find(PROMETHEUS).command)


def test_node_exporter_is_optional(programs: Path, tmp_path: Path) -> None:
    (programs / "prometheus-node-exporter").unlink()
    planned = plan(settings(tmp_path))
    assert [program.name for program in planned.programs] == [SERVICE, PROMETHEUS, ALERTMANAGER]
    assert "job_name: node" not in "".join(planned.files.values())


@pytest.mark.parametrize("missing", ALL[:2])
def test_without_prometheus_or_alertmanager_there_is_no_plan(
    missing: str, programs: Path, tmp_path: Path
) -> None:
    (programs / missing).unlink()
    with pytest.raises(MissingProgram, match=f"apt-get install {missing}"):
        plan(settings(tmp_path))


def monitoring_file(folder: Path, text: str) -> Path:
    (folder / "url").write_text("https://example.org/hook")
    (folder / "monitoring.toml").write_text(text)
    return folder / "monitoring.toml"


@pytest.mark.usefixtures("programs")
def test_a_robot_needs_the_relay_which_prometheus_and_alertmanager_can_reach(
    tmp_path: Path,
) -> None:
    text = '[receivers.group]\nkind = "wecom"\nurl_file = "url"\n[routes]\ncritical = ["group"]\n'
    file = monitoring_file(tmp_path, text)
    planned = plan(settings(tmp_path, monitoring=file, alert_relay_port=1005))
    names = [program.name for program in planned.programs]
    assert names == [SERVICE, PROMETHEUS, ALERT_RELAY, ALERTMANAGER, NODE_EXPORTER]
    command = planned.find(ALERT_RELAY).command
    assert command[command.index("--monitoring") + 1] == str(file)
    assert command[command.index("--port") + 1] == "1005"
    files = {path.name: text for path, text in planned.files.items()}
    assert "http://127.0.0.1:1005/group" in files["alertmanager.yml"]
    assert "job_name: alert-relay" in files["prometheus.yml"]


@pytest.mark.usefixtures("programs")
def test_without_a_robot_there_is_no_relay(tmp_path: Path) -> None:
    text = '[receivers.phone]\nkind = "slack"\nurl_file = "url"\n[routes]\ncritical = ["phone"]\n'
    planned = plan(settings(tmp_path, monitoring=monitoring_file(tmp_path, text)))
    assert ALERT_RELAY not in [program.name for program in planned.programs]
    files = {path.name: text for path, text in planned.files.items()}
    assert f"api_url_file: {tmp_path / 'url'}" in files["alertmanager.yml"]


@pytest.mark.usefixtures("programs")
def test_with_a_wrong_monitoring_file_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="there is no receiver 'unknown'"):
        plan(
            settings(
                tmp_path, monitoring=monitoring_file(tmp_path, '[routes]\ninfo = ["unknown"]\n')
            )
        )


@pytest.mark.usefixtures("programs")
def test_two_programs_cannot_share_a_port(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="prometheus and alertmanager have the same port 9093"):
        plan(settings(tmp_path, prometheus_port=9093))


# ── The stack, with small real programs ──────────────────────────────────────────────────────────


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
