"""Run the real Prometheus on a free port, with blocks of a folder or live targets."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx

from safelight.stories.replay import free_port

_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus."""

    client: httpx.Client

    def get(self, path: str, **params: str) -> Any:
        response = self.client.get(f"/api/v1/{path}", params=params)
        return response.raise_for_status().json()["data"]


@contextmanager
def running(folder: Path, config: str, rules: str) -> Iterator[Prometheus]:
    """Run Prometheus in a folder, with a configuration and rules, until the end of the block."""
    (folder / "prometheus.yml").write_text(config)
    (folder / "rules.yml").write_text(rules)
    address = f"127.0.0.1:{free_port()}"
    command = (
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    with subprocess.Popen(command) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
                _until_ready(client, process)
                yield Prometheus(client)
        finally:
            process.terminate()


def _until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    pause = Event()
    for _ in range(_START_SECONDS * 10):
        assert process.poll() is None, "Prometheus ended before it was ready"
        try:
            if client.get("/-/ready").is_success:
                return
        except httpx.HTTPError:
            pass
        pause.wait(0.1)
    raise TimeoutError("Prometheus is not ready")
