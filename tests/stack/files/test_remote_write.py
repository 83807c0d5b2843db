"""Two real Prometheus: one has the exported file, the other gets the copy by remote write."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.metrics.catalog import HTTP_REQUESTS, REQUEST_SECONDS
from safelight.metrics.metric import Metric
from safelight.metrics.series import Exemplar
from safelight.stack.files.config import prometheus_yml
from safelight.stack.monitoring import read
from safelight.telemetry.meter import service_meter
from tests.asking import HTTP
from tests.stack.waiting import eventually, free_ports

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PASSWORD = "sl-secret"
HASH = "$2b$05$abcdefghijklmnopqrstuuwOjdZVrgMUJZwvWYvoq3EjhPZm3b3F."  # bcrypt of the password
USER = ("safelight", PASSWORD)
MONITORING = """
[[remote_write]]
url = "{url}/api/v1/write"
username = "safelight"
password_file = "password"
"""


def answers(url: str) -> bool:
    try:
        return HTTP.get(f"{url}/-/ready", auth=USER, timeout=2).is_success
    except httpx.TransportError:
        return False


@contextmanager
def prometheus(folder: Path, config: str, port: int, *options: str) -> Iterator[str]:
    """Run a Prometheus with a configuration; yield its address."""
    folder.mkdir()
    file = folder / "prometheus.yml"
    file.write_text(config)
    checked = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        *options,
    ]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: answers(url), within=30, what="Prometheus is ready")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def ask(url: str, path: str, **params: str) -> Any:
    response = HTTP.get(f"{url}/api/v1/{path}", params=params, auth=USER, timeout=10)
    return response.raise_for_status().json()["data"]


def labels_of(metric: Metric) -> list[str]:
    return [(label.values or ("one",))[0] for label in metric.labels]


@pytest.fixture
def service() -> Iterator[str]:
    """Serve the metrics of a service, with an exemplar; yield its address."""
    meter = service_meter("pix")
    meter.add(HTTP_REQUESTS, *labels_of(HTTP_REQUESTS), amount=7)
    exemplar = Exemplar(TRACE)
    meter.observe(REQUEST_SECONDS, *labels_of(REQUEST_SECONDS), value=0.3, exemplar=exemplar)
    [port] = free_ports(1)
    stop = meter.serve(port)
    yield f"127.0.0.1:{port}"
    stop()


def test_series_and_exemplars_arrive_at_a_store_that_asks_for_a_password(
    service: str, tmp_path: Path
) -> None:
    own, store, alertmanager = free_ports(3)
    (tmp_path / "password").write_text(PASSWORD)
    file = tmp_path / "monitoring.toml"
    file.write_text(MONITORING.format(url=f"http://127.0.0.1:{store}"))
    web = tmp_path / "web.yml"
    web.write_text(f"basic_auth_users:\n  safelight: {HASH}\n")
    config = prometheus_yml(
        {"safelight": service},
        {"alertmanager": f"127.0.0.1:{alertmanager}"},
        rule_files=[],
        remote_write=read(file).remote_write,
    )
    receiving = ("--web.enable-remote-write-receiver", f"--web.config.file={web}")
    exemplars = {"query": REQUEST_SECONDS.full_name("pix") + "_bucket"}
    exemplars |= {"start": "2026-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z"}
    with (
        prometheus(tmp_path / "store", "global: {}\n", store, *receiving) as copy,
        prometheus(tmp_path / "own", config, own),
    ):
        requests = {"query": f"{HTTP_REQUESTS.name}{{job='safelight'}}"}
        found = eventually(
            lambda: ask(copy, "query", **requests)["result"], within=60, what="a series arrives"
        )
        assert [each["value"][1] for each in found] == ["7"]
        [series] = eventually(
            lambda: ask(copy, "query_exemplars", **exemplars), within=60, what="an exemplar arrives"
        )
        assert [each["labels"]["trace_id"] for each in series["exemplars"]] == [TRACE]
