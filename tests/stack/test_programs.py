import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from safelight.errors import BadSetting, MissingProgram, PortTaken
from safelight.stack.programs import (
    Program,
    Running,
    error_text,
    find_program,
    is_writable,
    look_for,
    require_free_port,
    without_password,
)
from tests.stack.waiting import eventually, free_ports, stub_programs

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        unready = Path(sys.argv[2]).exists()
        self.send_response(503 if unready or self.path != "/ready" else 200)
        self.end_headers()
    def log_message(self, *args): pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def web(name: str, folder: Path, code: str = SERVER) -> Program:
    """Return a program whose /ready returns 200 while the file `unready` does not exist."""
    [port] = free_ports(1)
    command = (sys.executable, "-S", "-c", code, str(port), str(folder / "unready"))
    return Program(name, command, "127.0.0.1", port, "/ready")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(web("web", tmp_path), tmp_path)
    yield started
    started.stop(grace_seconds=5)


def test_a_program_is_ready_when_its_path_returns_200(running: Running, tmp_path: Path) -> None:
    eventually(running.is_ready, within=20, what="the server is ready")
    assert running.ended is None
    (tmp_path / "unready").touch()
    assert not running.is_ready()


def test_a_program_stops_and_a_second_stop_does_nothing(running: Running) -> None:
    eventually(running.is_ready, within=20, what="the server is ready")
    running.stop(grace_seconds=5)
    assert running.ended == "by SIGTERM"
    running.stop(grace_seconds=5)
    assert not running.is_ready()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    running = Running(web("stubborn", tmp_path, code), tmp_path)
    eventually(running.is_ready, within=20, what="the server is ready")
    running.stop(grace_seconds=0.1)
    assert running.ended == "by SIGKILL"


def test_ctrl_c_in_the_terminal_does_not_reach_a_program(running: Running) -> None:
    assert os.getsid(running.pid) == running.pid != os.getsid(0)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('first'); print('the disk is full'); raise SystemExit(7)", "with code 7: the disk"),
        ("import sys; sys.exit('safelight: no model')", "with code 1: no model"),
        ("raise SystemExit(1)", "with code 1: no output"),
        ("import os; os.kill(os.getpid(), 9)", "by SIGKILL: no output"),
    ],
)
def test_the_failure_contains_the_exit_status_and_the_last_line(
    code: str, message: str, tmp_path: Path
) -> None:
    running = Running(web("short", tmp_path, code), tmp_path)
    eventually(lambda: running.ended, within=20, what="the program ends")
    failure = str(running.failure())
    assert message in failure
    assert "short" in failure
    assert str(running.log) in failure
    assert len(failure.splitlines()) == 1


def test_a_restart_appends_to_the_same_log(tmp_path: Path) -> None:
    running = Running(web("short", tmp_path, "print('hello')"), tmp_path)
    eventually(lambda: running.ended, within=20, what="the program ends")
    running.restart()
    eventually(lambda: running.ended, within=20, what="the program ends again")
    assert running.restarts == 1
    assert running.log.read_text() == "hello\nhello\n"


def test_the_first_installed_program_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", stub_programs(tmp_path / "bin", "prometheus-alertmanager"))
    path = str(tmp_path / "bin/prometheus-alertmanager")
    assert find_program(("alertmanager", "prometheus-alertmanager"), "any") == path
    assert look_for(("amtool",)) is None


def test_a_missing_program_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingProgram, match="apt-get install prometheus;") as missing:
        find_program(("prometheus",), "prometheus")
    assert missing.value.exit_code == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_with_a_listener_is_taken(host: str) -> None:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=kind)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            require_free_port(Program("api", (), host, port, "/"))
    require_free_port(Program("api", (), host, port, "/"))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_foreign_address_is_a_bad_setting_and_not_a_taken_port(host: str) -> None:
    with pytest.raises(BadSetting, match=f"api cannot listen on {host}:1234"):
        require_free_port(Program("api", (), host, 1234, "/"))


def test_a_folder_is_writable_if_it_or_its_parent_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert is_writable(tmp_path)
    assert is_writable(tmp_path / "a/b/c")
    assert not is_writable(tmp_path / "file/below")


def _refused(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://x")
    return httpx.HTTPStatusError("a\nb", request=request, response=httpx.Response(status))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (_refused(404), "it returned 404 Not Found"),
        (httpx.ConnectError("All connection\nattempts failed."), "All connection attempts failed"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
    ],
)
def test_a_failed_request_is_reported_in_one_line(error: httpx.HTTPError, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:hush@host:3000/grafana", "http://host:3000/grafana"),
        ("http://me:hu@hu/sh@host", "http://host"),
        ("me:hush@host", "host"),
        ("http://host/path", "http://host/path"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert without_password(address) == shown
