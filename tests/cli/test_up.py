import signal
import socket
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from safelight.cli.up import _addresses, _results
from safelight.settings import load
from safelight.stack.local import plan
from safelight.stack.tools.check import Check, Result
from tests.asking import HTTP
from tests.cli.conftest import Call
from tests.cli.running import started
from tests.serving.running import PAINTER
from tests.stack.waiting import free_ports, stub_programs

PORTS = (
    "--port",
    "--prometheus-port",
    "--alertmanager-port",
    "--node-exporter-port",
    "--grafana-port",
    "--console-port",
)


def elsewhere(tmp_path: Path) -> tuple[str, ...]:
    """Return options with free ports and a state folder for this test."""
    ports = (str(part) for pair in zip(PORTS, free_ports(len(PORTS)), strict=True) for part in pair)
    return (*ports, "--state-folder", str(tmp_path / "state"))


# ── What cannot start ────────────────────────────────────────────────────────────────────────────


def test_a_taken_port_is_one_line_and_nothing_is_started(call: Call, tmp_path: Path) -> None:
    options = elsewhere(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        answer = call("up", *options, "--alertmanager-port", port)
    assert (answer.code, answer.out) == (3, "")
    assert f"Port {port} on 127.0.0.1 for alertmanager is already in use." in answer.line


def test_two_programs_on_one_port_are_one_line(call: Call, tmp_path: Path) -> None:
    answer = call("up", *elsewhere(tmp_path), "--port", "8123", "--prometheus-port", "8123")
    assert (answer.code, answer.out) == (2, "")
    assert "safelight and prometheus have the same port 8123" in answer.line


@pytest.mark.parametrize("missing", ["prometheus", "prometheus-alertmanager"])
def test_a_missing_program_is_one_line(
    missing: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = {"prometheus", "prometheus-alertmanager"} - {missing}
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", *others))
    answer = call("up", *elsewhere(tmp_path))
    assert (answer.code, answer.out) == (3, "")
    assert f"apt-get install {missing};" in answer.line


def test_a_state_folder_that_cannot_be_written_is_one_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = call("up", *elsewhere(tmp_path), "--state-folder", str(tmp_path / "file/state"))
    assert (answer.code, answer.out) == (2, "")
    assert "cannot be written: Not a directory. Choose another" in answer.line


def test_an_address_of_another_machine_is_one_line(call: Call, tmp_path: Path) -> None:
    answer = call("up", *elsewhere(tmp_path), "--host", "192.0.2.1")
    assert (answer.code, answer.out) == (2, "")
    assert "safelight cannot listen on 192.0.2.1:" in answer.line


def test_an_unknown_model_stops_everything_with_one_line(call: Call, tmp_path: Path) -> None:
    answer = call("up", "no-such/model", *elsewhere(tmp_path))
    assert answer.code == 1
    assert "The model 'no-such/model' could not be loaded" in answer.line
    assert str(tmp_path / "state/logs/safelight.log") in answer.line
    assert answer.out.splitlines() == ["starting safelight", "stopping"]


# ── What is printed ──────────────────────────────────────────────────────────────────────────────


def printed(width: int, table: object) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_addresses_fit_80_columns() -> None:
    made = plan(load())
    text = printed(80, _addresses(made))
    assert max(map(len, text.splitlines())) <= 80
    for program in made.programs:
        assert f" {program.name} " in text
        assert f" {program.url} " in text


ANSWERS = [
    Result(Check("P95", "histogram_quantile(0.95, [5m])", "s"), 0.0412),
    Result(Check("slow", "q", "s"), 4.25),
    Result(Check("memory", "q", "B"), 2.527e10),
    Result(Check("requests", "q"), 5),
    Result(Check("VRAM", "q", "B"), None, "absent: no CUDA"),
    Result(Check("lost", "q"), None),
]


def test_results_have_readable_units() -> None:
    text = printed(140, _results("demo-edit", ANSWERS, with_queries=True))
    for value in ("41.2 ms", "4.25 s", "23.5 GiB", " 5 ", "absent: no CUDA", "no data", "[5m]"):
        assert value in text
    assert [line[2:4] for line in text.splitlines() if "│" in line] == [*["ok"] * 5, "no"]


def test_a_narrow_terminal_shows_no_queries() -> None:
    text = printed(80, _results("demo-edit", ANSWERS, with_queries=False))
    assert "histogram_quantile" not in text
    assert max(map(len, text.splitlines())) <= 80


# ── The real thing ───────────────────────────────────────────────────────────────────────────────


def test_up_check_checks_the_stack_and_stops_it(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--check", *elsewhere(tmp_path)) as command:
        command.wait_for_output("Safelight is up")
        assert command.process.wait(120) == 0, command.out + command.err
    assert command.err == ""
    assert "in Prometheus" in command.out
    assert "make.*old|age.*" in command.out
    assert " no │" not in command.out
    assert command.out.count("│ ok │") >= 14
    assert command.out.splitlines()[-1] == "stopping"
    assert "\x1b" not in command.out


def test_ctrl_c_stops_everything_that_up_started(tmp_path: Path) -> None:
    options = elsewhere(tmp_path)
    with started(tmp_path, "up", PAINTER, *options) as command:
        command.wait_for_output("Ctrl-C stops everything.")
        assert HTTP.get(f"http://127.0.0.1:{options[1]}/readyz").is_success
        console = f"http://127.0.0.1:{options[options.index('--console-port') + 1]}"
        assert f"Look at it in the browser:\n  {console}" in command.out
        assert HTTP.get(f"{console}/healthz").is_success
        assert command.send(signal.SIGINT) == 0
        assert len(command.processes) == 7  # itself, service, worker, console, three others
        assert command.still_running() == []
    assert command.err == ""
    assert "Traceback" not in "".join(log.read_text() for log in tmp_path.glob("state/logs/*"))


def test_changed_limits_reach_prometheus_from_the_console(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text("[thresholds]\nhttp_p95_seconds = 41\n")
    options = elsewhere(tmp_path)
    prometheus, console = (
        f"http://127.0.0.1:{options[options.index(name) + 1]}"
        for name in ("--prometheus-port", "--console-port")
    )

    def reload() -> httpx.Response:
        asked = {"action": "reload", "service": 0, "parameters": {}}
        return HTTP.post(f"{console}/data/actions", json=asked, timeout=30)

    def rules() -> str:
        found = HTTP.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
        return str([rule["query"] for group in found for rule in group["rules"]])

    with started(tmp_path, "up", PAINTER, "--monitoring", str(file), *options) as command:
        command.wait_for_output("Ctrl-C stops everything.")
        assert "> 41" in rules()
        file.write_text("[thresholds]\nhttp_p95_seconds = 43\n")
        assert reload().json()["result"] == "done"
        assert "> 43" in rules()
        assert "> 41" not in rules()
        file.write_text('[thresholds]\nhttp_p95_seconds = "long"\n')
        refused = reload()
        assert refused.status_code == 502
        assert "http_p95_seconds" in refused.json()["detail"]
        assert "> 43" in rules()
        assert command.send(signal.SIGINT) == 0
    assert "reloaded the limits and receivers" in command.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_during_the_start_stops_up(number: signal.Signals, tmp_path: Path) -> None:
    with started(tmp_path, "up", *elsewhere(tmp_path)) as command:
        command.wait_for_output("starting safelight")
        assert command.send(number) == 130
        assert command.still_running() == []
    assert command.err == ""
