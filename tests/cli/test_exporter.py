import signal
import socket
from pathlib import Path

import httpx
import pytest

from safelight.metrics.registry import parse, where
from tests.asking import HTTP
from tests.cli.conftest import Call
from tests.cli.running import started
from tests.stack.waiting import eventually, free_ports


def test_r4_scrapes_are_answered_until_sigterm(tmp_path: Path) -> None:
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    options = ("--port", str(port), "--gpu-interval-seconds", "0.1")
    with started(tmp_path, "gpu-exporter", *options) as command:
        command.wait_for_output(f"{url}/metrics is up; the GPUs are read every 0.1 s.")

        def gpus_or_failures() -> bool:
            try:
                samples = parse(HTTP.get(f"{url}/metrics", timeout=5).text)
            except httpx.TransportError:
                return False
            failures = where(samples, "safelight_probe_failures_total", probe="nvml")
            gpus = where(samples, "gpu_memory_total_bytes")
            return any(value > 0 for _, value in [*failures, *gpus])

        eventually(gpus_or_failures, within=20, what="GPU metrics or counted failures")
        assert HTTP.get(f"{url}/healthz", timeout=5).text == "alive\n"
        assert command.send(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert "Traceback" not in command.err


def test_a_taken_port_is_one_line(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        answer = call("gpu-exporter", "--port", port)
    assert (answer.code, answer.out) == (3, "")
    assert f"Port {port} on 127.0.0.1 for gpu-exporter is already in use." in answer.line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--port", "0"), "SAFELIGHT_GPU_EXPORTER_PORT"),
        (("--gpu-interval-seconds", "0"), "SAFELIGHT_GPU_INTERVAL_SECONDS"),
        (("--host", "192.0.2.1"), "cannot listen on 192.0.2.1"),
    ],
)
def test_an_invalid_command_is_one_line(options: tuple[str, ...], message: str, call: Call) -> None:
    answer = call("gpu-exporter", *options)
    assert answer.code == 2
    assert message in answer.line


def test_help_shows_an_example(call: Call) -> None:
    assert "safelight gpu-exporter --host" in call("gpu-exporter", "--help").out
