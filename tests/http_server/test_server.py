"""Every server of Safelight has the bounds: real processes with few descriptors."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import httpx
import pytest

from tests.asking import HTTP
from tests.cli.running import Command, started
from tests.stack.waiting import eventually, free_ports

MONITORING = '[receivers.group]\nkind = "wecom"\nurl_file = "url"\n[routes]\ninfo = ["group"]\n'
JSON = "Host: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def running(folder: Path, name: str, *, idle: str = "20") -> Iterator[tuple[Command, int]]:
    """Run a server with few places and descriptors; return it and its port."""
    [port] = free_ports(1)
    (folder / "url").write_text("http://127.0.0.1:9/hook")
    (folder / "monitoring.toml").write_text(MONITORING)
    options = ("--monitoring", str(folder / "monitoring.toml")) if name == "alert-relay" else ()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELIGHT_CONNECTION_LIMIT", "40")
        environment.setenv("SAFELIGHT_CLIENT_IDLE_SECONDS", idle)
        with started(folder / "run", name, "--port", str(port), *options) as command:
            eventually(lambda: is_up(port), within=30, what=f"{name} is up")
            resource.prlimit(command.process.pid, resource.RLIMIT_NOFILE, (120, 120))
            yield command, port
            assert command.process.poll() is None
            assert "Traceback" not in command.err + command.out


def is_up(port: int) -> bool:
    try:
        return HTTP.get(f"http://127.0.0.1:{port}/healthz", timeout=1).is_success
    except httpx.HTTPError:
        return False


def connected(port: int, sent: str) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", port), timeout=20)
    caller.sendall(sent.encode())
    return caller


@pytest.mark.parametrize("name", ["alert-relay", "gpu-exporter"])
def test_half_sent_requests_close_a_server_to_nobody(name: str, tmp_path: Path) -> None:
    with running(tmp_path, name) as (_, port), ExitStack() as attack:
        for _ in range(200):
            attack.enter_context(connected(port, "GET /metrics HTTP/1.1\r\nHost: local"))
        for _ in range(5):
            eventually(lambda: is_up(port), within=5, what="another caller is served")


def test_a_notification_that_stops_is_ended_and_leaves_no_trace_in_the_log(tmp_path: Path) -> None:
    with running(tmp_path, "alert-relay", idle="0.5") as (_, port):
        head = f"POST /group HTTP/1.1\r\n{JSON}Content-Length: 1000000\r\n\r\n"
        with connected(port, head + "x" * 200_000) as stops:
            assert stops.recv(1000).startswith(b"HTTP/1.1 408 ")
        with connected(port, head + "x" * 200_000):
            pass
        assert is_up(port)


def test_notifications_that_are_never_complete_have_bounded_bytes(tmp_path: Path) -> None:
    with running(tmp_path, "alert-relay") as (_, port), ExitStack() as attack:
        head = f"POST /group HTTP/1.1\r\n{JSON}Content-Length: 4000000\r\n\r\n"
        callers = [attack.enter_context(connected(port, head)) for _ in range(20)]
        for caller in callers:
            caller.sendall(b"x" * 3_900_000)
        [answered, *_], _, _ = select(callers, [], [], 10)
        assert answered.recv(12) == b"HTTP/1.1 503"
        small = HTTP.post(f"http://127.0.0.1:{port}/group", json={}, timeout=10)
        assert small.status_code == 400
