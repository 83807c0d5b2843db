"""The service as a process: how light it is, how it starts, and how it refuses to."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn

from safelight.metrics.catalog import OUTCOMES, RECORDS, REQUEST_SECONDS
from safelight.serving.app import Service
from safelight.settings import load, program_environment
from safelight.stories.replay import free_port
from tests.serving.conftest import RealService, serving, until
from tests.serving.running import PAINTER
from tests.telemetry.receiver import RECEIVERS, samples_of

MEBIBYTE = 1024**2


def run_serve(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "safelight", "serve", *arguments],
        env=program_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
    )


def only_line(stderr: str) -> str:
    """Return the error's line, when it is the only one that is no log line."""
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("safelight: ")]
    return line


def worker_of(api: psutil.Process) -> psutil.Process:
    """Return the worker; the other child is the recorder."""
    (worker,) = [one for one in api.children() if "safelight.serving.worker.child" in one.cmdline()]
    return worker


def test_the_api_process_holds_no_torch_and_little_memory(service: RealService) -> None:
    service.edit()
    assert until(lambda: service.value(RECORDS.name, outcome="written") > 0, 20)
    process = psutil.Process(service.pid)

    assert "libtorch" not in Path(f"/proc/{service.pid}/maps").read_text()
    assert process.memory_info().rss < 95 * MEBIBYTE
    worker = worker_of(process)
    assert "libtorch" in Path(f"/proc/{worker.pid}/maps").read_text()


def test_the_worker_ends_when_the_api_is_gone() -> None:
    port = free_port()
    api = subprocess.Popen(
        [sys.executable, "-m", "safelight", "serve", PAINTER, "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert api.stderr is not None
    lines = iter(api.stderr.readline, "")
    assert any("model loaded" in line for line in lines)
    worker = worker_of(psutil.Process(api.pid))

    api.kill()
    api.wait()
    api.stderr.close()

    worker.wait(timeout=10)
    assert not worker.is_running()


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = run_serve("--port", str(port))

    assert ended.returncode == 3
    assert f"Port {port} on 127.0.0.1" in only_line(ended.stderr)


@pytest.mark.parametrize("model", ["nobody/has-this-model", os.fspath(Path(__file__).parent)])
def test_a_missing_model_is_reported_in_one_line(model: str) -> None:
    ended = run_serve(model, "--port", str(free_port()), HF_HUB_OFFLINE="1")

    assert ended.returncode == 3
    line = only_line(ended.stderr)
    assert "could not be loaded" in line
    assert "demo-edit" in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SAFELIGHT_PORT", "abc"), ("SAFELIGHT_QUEUE_LIMIT", "0"), ("SAFELIGHT_TAXONOMY", "/none")],
)
def test_a_wrong_setting_is_reported_in_one_line(variable: str, value: str) -> None:
    ended = run_serve(**{variable: value})

    assert ended.returncode == 2
    assert value in only_line(ended.stderr)


def test_an_address_that_is_not_ours_is_not_called_a_taken_port() -> None:
    ended = run_serve("--host", "192.0.2.1", "--allow-anonymous", "--port", str(free_port()))

    assert ended.returncode == 2
    assert "cannot listen on 192.0.2.1" in only_line(ended.stderr)


@pytest.mark.parametrize(("grace", "bound"), [(0.0, 1), (0.5, 1), (2.5, 3)])
def test_however_short_the_grace_time_the_stop_is_bounded(
    grace: float, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[int | None] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        bounds.append(server.config.timeout_graceful_shutdown)
        for listener in sockets:
            listener.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("safelight.serving.app.freeze_startup_objects", lambda: None)
    Service(load(model="tests.serving.models:painter", port=free_port(), grace_seconds=grace)).run()
    assert bounds == [bound]


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_service_sends_its_metrics_and_at_its_end_all_that_it_counted(
    protocol: str, tmp_path: Path
) -> None:
    with RECEIVERS[protocol]() as sink:
        push: dict[str, Any] = {"otlp_endpoint": sink.url, "otlp_protocol": protocol}
        push |= {"otlp_metrics_seconds": "1", "records_url": ""}
        with serving(tmp_path, PAINTER, **push) as service:
            assert service.edit().status_code == 200
            assert until(lambda: len(sink.metrics) >= 2, 20)
            text = service.samples()
        sent = samples_of(sink.metrics[-1])
    names = (OUTCOMES.full_name("instructpix2pix"), REQUEST_SECONDS.full_name("instructpix2pix"))
    counts = {key: value for key, value in text.items() if key[0].startswith(names)}
    assert len(counts) > 10
    assert {key: sent[key] for key in counts} == counts
