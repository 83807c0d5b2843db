"""A real service, started once: the API process and its worker with the demo model."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.metrics.registry import Samples, parse
from safelight.settings import program_environment
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port
from tests.asking import HTTP
from tests.reading import page_of

READY_SECONDS = 120.0  # a model is loaded, beside those of other tests


@dataclass(frozen=True)
class RealService:
    """Where the service listens, and how to speak to it."""

    url: str
    pid: int
    client: httpx.Client

    def edit(self, image: bytes | None = None, **params: str | int | float) -> httpx.Response:
        """Send one edit as a raw body."""
        asked = {"instruction": "make him old", "steps": 2, **params}
        content = photo(64, 64) if image is None else image
        headers = {"content-type": "image/jpeg"}
        return self.client.post("/api/edit", params=asked, content=content, headers=headers)

    def samples(self) -> Samples:
        """Read `/metrics`."""
        return parse(page_of("/metrics", self.client))

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name whose labels include those given."""
        wanted = set(labels.items())
        return sum(v for (n, found), v in self.samples().items() if n == name and wanted <= found)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until it is so or the time is over; tell which."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        pause.wait(0.05)
    return True


def answers(url: str) -> bool:
    """Tell whether a URL answers 200 now."""
    try:
        return HTTP.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def serving(
    folder: Path, model: str = "demo-edit", *, calm: bool = True, **settings: str
) -> Iterator[RealService]:
    """Run `safelight serve` until the block ends; it must end in order.

    A calm one must have logged no trace. Without a `port` it takes a free one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, log = int(settings.pop("port", 0)) or free_port(), folder / "log"
    settings = {"state_folder": str(folder / "state"), **settings}
    environment = program_environment(
        **{f"SAFELIGHT_{name.upper()}": value for name, value in settings.items()}
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "safelight", "serve", model, "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        assert until(lambda: answers(f"{url}/readyz"), READY_SECONDS), log.read_text()
        with httpx.Client(base_url=url, timeout=60) as client:
            yield RealService(url, process.pid, client)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0, log.read_text()
    assert not calm or "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Run `safelight serve` with small limits until the tests are over."""
    limits: dict[str, Any] = {
        "body_limit_bytes": str(2 * 1024 * 1024),
        "image_limit_pixels": "4000000",
        "image_side_pixels": "256",
        "structure_floor": "0",  # larger than it was trained at, the demo keeps little
    }
    folder = tmp_path_factory.mktemp("service")
    limits["records_url"] = f"sqlite:///{folder / 'records.db'}"  # as by default, but apart
    with serving(folder, **limits) as running:
        yield running


@pytest.fixture
def previewing(tmp_path: Path) -> Iterator[RealService]:
    """Run a service that sends a preview after every fifth step."""
    with serving(tmp_path, preview_every_steps="5") as running:
        yield running
