import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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

# ── The plan: arithmetic over settings ───────────────────────────────────────────────────────────


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *ALL))
    return tmp_path / "bin"


def settings(tmp_path: Path, **chosen: object) -> Settings:
    return load(state_folder=tmp_path / "state", **chosen)


@pytest.mark.usefixtures("programs")
def test_the_plan_starts_the_service_first_and_then_its_watchers(tmp_path: Path) -> None:
    names = [program.name for program in plan(settings(tmp_path)).programs]
    assert names == [SERVICE, PROMETHEUS, ALERTMANAGER, NODE_EXPORTER]


@pytest.mark.usefixtures("programs")
def test_every_program_listens_where_the_settings_say(tmp_path: Path) -> None:
    made = plan(
        settings(
            tmp_path,
            host="127.0.0.9",
            port=1001,
            prometheus_port=1002,
            alertmanager_port=1003,
            node_exporter_port=1004,
        )
    )
    for port, program in enumerate(made.programs, 1001):
        assert program.url == f"http://127.0.0.9:{port}"
        command = " ".join(program.command)
        assert f"127.0.0.9:{port}" in command or f"--host 127.0.0.9 --port {port}" in command


@pytest.mark.usefixtures("programs")
def test_the_service_is_told_the_choices(tmp_path: Path) -> None:
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
def test_prometheus_is_told_of_every_target_the_rules_and_alertmanager(tmp_path: Path) -> None:
    made = plan(settings(tmp_path, port=1001, namespace="zimage"))
    files = {path.name: text for path, text in made.files.items()}
    config = yaml.safe_load(files["prometheus.yml"])
    jobs = {job["job_name"]: job["static_configs"] for job in config["scrape_configs"]}
    assert jobs[SERVICE] == [{"targets": ["127.0.0.1:1001"]}]
    assert jobs["node"] == [{"targets": ["127.0.0.1:9100"]}]
    [rules] = config["rule_files"]
    assert Path(rules) in made.files
    assert "zimage_" in files["rules.yml"]
    assert "127.0.0.1:9093" in str(config["alerting"])
    assert "exemplar-storage" in " ".join(made.find(PROMETHEUS).command)


def test_without_node_exporter_the_rest_goes_on(programs: Path, tmp_path: Path) -> None:
    (programs / "prometheus-node-exporter").unlink()
    made = plan(settings(tmp_path))
    assert [program.name for program in made.programs] == [SERVICE, PROMETHEUS, ALERTMANAGER]
    assert "job_name: node" not in "".join(made.files.values())


@pytest.mark.parametrize("missing", ALL[:2])
def test_without_prometheus_or_alertmanager_there_is_no_plan(
    missing: str, programs: Path, tmp_path: Path
) -> None:
    (programs / missing).unlink()
    with pytest.raises(MissingProgram, match=f"apt-get install {missing}"):
        plan(settings(tmp_path))


def monitored(folder: Path, text: str) -> Path:
    (folder / "url").write_text("https://example.org/hook")
    (folder / "monitoring.toml").write_text(text)
    return folder / "monitoring.toml"


@pytest.mark.usefixtures("programs")
def test_a_robot_brings_the_relay_with_it_and_prometheus_and_alertmanager_know_where(
    tmp_path: Path,
) -> None:
    text = '[receivers.group]\nkind = "wecom"\nurl_file = "url"\n[routes]\ncritical = ["group"]\n'
    file = monitored(tmp_path, text)
    made = plan(settings(tmp_path, monitoring=file, alert_relay_port=1005))
    names = [program.name for program in made.programs]
    assert names == [SERVICE, PROMETHEUS, ALERT_RELAY, ALERTMANAGER, NODE_EXPORTER]
    command = made.find(ALERT_RELAY).command
    assert command[command.index("--monitoring") + 1] == str(file)
    assert command[command.index("--port") + 1] == "1005"
    files = {path.name: text for path, text in made.files.items()}
    assert "http://127.0.0.1:1005/group" in files["alertmanager.yml"]
    assert "job_name: alert-relay" in files["prometheus.yml"]


@pytest.mark.usefixtures("programs")
def test_without_a_robot_there_is_no_relay(tmp_path: Path) -> None:
    text = '[receivers.phone]\nkind = "slack"\nurl_file = "url"\n[routes]\ncritical = ["phone"]\n'
    made = plan(settings(tmp_path, monitoring=monitored(tmp_path, text)))
    assert ALERT_RELAY not in [program.name for program in made.programs]
    files = {path.name: text for path, text in made.files.items()}
    assert f"api_url_file: {tmp_path / 'url'}" in files["alertmanager.yml"]


@pytest.mark.usefixtures("programs")
def test_a_monitoring_file_that_is_wrong_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="there is no receiver 'nobody'"):
        plan(settings(tmp_path, monitoring=monitored(tmp_path, '[routes]\ninfo = ["nobody"]\n')))


@pytest.mark.usefixtures("programs")
def test_two_programs_cannot_share_a_port(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="prometheus and alertmanager both want port 9093"):
        plan(settings(tmp_path, prometheus_port=9093))


# ── The stack: small real programs ───────────────────────────────────────────────────────────────


class Harness:
    """A stack of small web servers, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.stack: Stack | None = None

    def build(self, plan: Plan, wait: Wait, **chosen: object) -> Stack:
        self.stack = Stack(plan, settings(self.folder, **chosen), self.told.append, wait)
        return self.stack

    def start(self, *names: str, wait: Wait | None = None, **chosen: object) -> Stack:
        programs = tuple(web(name, self.folder) for name in names)
        made = self.build(Plan(programs, {}, self.folder / "state"), wait or pause, **chosen)
        assert made.start()
        return made

    def processes(self, *names: str) -> list[psutil.Process]:
        assert self.stack is not None
        return [psutil.Process(self.stack.pid(name)) for name in names]


def pause(_seconds: float) -> bool:
    return threading.Event().wait(0.05)


def until(done: Callable[[], bool], each: Callable[[], None] = lambda: None) -> Wait:
    """Return a wait that lets time pass, does something each time, and stops once `done`."""

    def wait(_seconds: float) -> bool:
        each()
        return threading.Event().wait(0.05) or done()

    return wait


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path)
    yield made
    if made.stack is not None:
        made.stack.stop()


def test_a_stack_starts_everything_and_ends_everything(harness: Harness) -> None:
    stack = harness.start("one", "two")
    processes = harness.processes("one", "two")
    assert not all_gone(processes)
    stack.stop()
    assert all_gone(processes)
    assert harness.told == ["starting one", "starting two", "stopping"]
    stack.stop()
    assert harness.told[-1:] == ["stopping"]


def test_files_and_logs_lie_in_the_state_folder(harness: Harness) -> None:
    state = harness.folder / "state"
    programs = (web("one", harness.folder),)
    stack = harness.build(Plan(programs, {state / "config/a.yml": "a: 1\n"}, state), pause)
    stack.start()
    assert (state / "config/a.yml").read_text() == "a: 1\n"
    assert (state / "logs/one.log").is_file()


def test_nothing_is_started_where_one_port_is_taken(harness: Harness) -> None:
    programs = tuple(web(name, harness.folder) for name in ("one", "two"))
    stack = harness.build(Plan(programs, {}, harness.folder), pause)
    with (
        socket.create_server(("127.0.0.1", programs[1].port)),
        pytest.raises(PortTaken, match="for two is already in use"),
    ):
        stack.start()
    stack.stop()
    assert harness.told == []


def test_a_state_folder_that_cannot_be_written_is_a_bad_setting(harness: Harness) -> None:
    (harness.folder / "file").touch()
    made = Plan((web("one", harness.folder),), {}, harness.folder / "file/state")
    with pytest.raises(BadSetting, match=r"file/state cannot be written.*--state-folder"):
        harness.build(made, pause).start()


def test_a_program_that_ends_at_once_fails_the_start(harness: Harness) -> None:
    code = "raise SystemExit('no such model')"
    made = Plan((web("one", harness.folder, code),), {}, harness.folder)
    with pytest.raises(ServiceFailed, match="ended with code 1: no such model"):
        harness.build(made, pause).start()


def test_the_user_may_stop_the_start(harness: Harness) -> None:
    code = "import threading; threading.Event().wait(60)"
    made = Plan((web("slow", harness.folder, code),), {}, harness.folder)
    assert not harness.build(made, lambda _seconds: True).start()


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        (False, r"slow is still starting after \d+ s; waiting on"),
        (True, r"slow is still loading its model after \d+ s; waiting on, for a large one .*"),
    ],
)
def test_a_long_start_says_that_it_still_waits(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, said: str, *, loads: bool
) -> None:
    monkeypatch.setattr(local, "_PATIENCE_SECONDS", 0.1)
    code = "import threading; threading.Event().wait(60)"
    served = {"slow": load()} if loads else {}
    made = Plan((web("slow", harness.folder, code),), {}, harness.folder, served)
    waited = until(lambda: len(harness.told) >= 3)
    assert not harness.build(made, waited).start()
    assert re.fullmatch(said, harness.told[1])


def test_a_killed_program_is_started_again_and_told(harness: Harness) -> None:
    state = {"killed": False}

    def done() -> bool:
        if not state["killed"] and "starting two" in harness.told:
            os.kill(harness.processes("one")[0].pid, signal.SIGKILL)
            state["killed"] = True
        return "one answers again" in harness.told

    stack = harness.start("one", "two")
    stack._wait = until(done)
    stack.follow()
    assert "one ended by SIGKILL and is started again" in harness.told
    assert not all_gone(harness.processes("one", "two"))


def test_a_program_that_stops_answering_is_told_and_so_is_its_return(harness: Harness) -> None:
    sick = harness.folder / "sick"

    def each() -> None:
        if "one is not ready" in harness.told:
            sick.unlink(missing_ok=True)

    stack = harness.start("one")
    sick.touch()
    stack._wait = until(lambda: "one answers again" in harness.told, each)
    stack.follow()
    assert harness.told[-2:] == ["one is not ready", "one answers again"]


def _kill_each_time(harness: Harness) -> Wait:
    def kill() -> None:
        [process] = harness.processes("one")
        if process.status() != psutil.STATUS_ZOMBIE:
            process.kill()

    return until(lambda: sum("started again" in text for text in harness.told) > 4, kill)


def test_a_program_that_dies_again_and_again_ends_the_stack(harness: Harness) -> None:
    stack = harness.start("one", restart_limit=2)
    stack._wait = _kill_each_time(harness)
    with pytest.raises(ServiceFailed, match="one died 3 times") as failed:
        stack.follow()
    assert failed.value.exit_code == 1
    assert sum("started again" in text for text in harness.told) == 2


def test_deaths_that_lie_far_apart_are_forgiven(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_HEALTHY_SECONDS", 0.0)
    stack = harness.start("one", restart_limit=1)
    stack._wait = _kill_each_time(harness)
    stack.follow()
    assert sum("started again" in text for text in harness.told) == 5


def test_everything_ends_even_where_one_died_before(harness: Harness) -> None:
    stack = harness.start("one", "two")
    first, second = harness.processes("one", "two")
    first.kill()
    eventually(lambda: all_gone([first]), within=10, what="the first is gone")
    stack.stop()
    assert all_gone([first, second])
