import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.settings import Settings
from tests.asking import HTTP
from tests.cli.conftest import Call
from tests.cli.running import started
from tests.serving.running import PAINTER
from tests.stack.waiting import eventually, free_ports


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Return the list that receives the settings instead of a service."""
    settings: list[Settings] = []
    monkeypatch.setattr("safelight.serving.app.serve", settings.append)
    return settings


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ((), "model", "demo-edit"),
        (("a/b",), "model", "a/b"),
        (("--host", "::1"), "host", "::1"),
        (("--port", "81"), "port", 81),
        (("--tls-certificate", "a.crt"), "tls_certificate", Path("a.crt")),
        (("--tls-key", "a.key"), "tls_key", Path("a.key")),
        (("--namespace", "zimage"), "namespace", "zimage"),
        (("--devices", "cuda:3"), "devices", "cuda:3"),
        (("--precision", "bfloat16"), "precision", "bfloat16"),
        (("--queue-limit", "9"), "queue_limit", 9),
        (("--taxonomy", "t.yaml"), "taxonomy", Path("t.yaml")),
        (("--log-format", "json"), "log_format", "json"),
    ],
)
def test_every_option_reaches_the_service(
    arguments: tuple[str, ...], field: str, value: Any, call: Call, served: list[Settings]
) -> None:
    assert call("serve", *arguments).code == 0
    assert getattr(served[0], field) == value


def test_the_demo_of_another_family_is_one_clear_line(
    call: Call, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_MODEL", "demo-edit")
    monkeypatch.setenv("SAFELIGHT_NAMESPACE", "zimage")
    refused = call("serve")
    assert (refused.code, served) == (2, [])
    assert "demo-edit belongs to the namespace instructpix2pix" in refused.line


def test_an_option_comes_before_the_environment_and_that_before_the_file(
    call: Call, served: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.toml").write_text("port = 1\nqueue_limit = 1\nhost = '127.0.0.3'\n")
    monkeypatch.setenv("SAFELIGHT_CONFIG", str(tmp_path / "s.toml"))
    monkeypatch.setenv("SAFELIGHT_PORT", "2")
    monkeypatch.setenv("SAFELIGHT_QUEUE_LIMIT", "2")
    call("serve", "--port", "3")
    [settings] = served
    assert (settings.port, settings.queue_limit, settings.host) == (3, 2, "127.0.0.3")


def test_a_taken_port_is_one_line_and_code_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with started(tmp_path, "serve", "--port", port) as command:
            assert command.process.wait(30) == 3
    [line] = command.err.splitlines()
    assert f"Port {port} on 127.0.0.1" in line


def test_an_unknown_model_is_one_line_and_code_3(tmp_path: Path) -> None:
    port = str(free_ports(1)[0])
    with started(tmp_path, "serve", "no-such/model", "--port", port) as command:
        assert command.process.wait(60) == 3
    assert "Traceback" not in command.err
    last = command.err.splitlines()[-1]
    assert last.startswith("safelight: The model 'no-such/model' could not be loaded")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_the_service_and_its_worker(number: signal.Signals, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with started(tmp_path, "serve", PAINTER, "--port", url.rpartition(":")[2]) as command:
        command.wait_for_output("listening")
        eventually(lambda: _ready(url), within=60, what="the model is loaded")
        assert command.send(number) == 0
        assert len(command.processes) == 2
        assert command.still_running() == []
    assert "Traceback" not in command.err


def _ready(url: str) -> bool:
    try:
        return HTTP.get(f"{url}/readyz").is_success
    except httpx.HTTPError:
        return False
