"""A real Prometheus with four hours of a simulated service, and a real console beside it."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from safelight.diagnosis.prometheus import Prometheus
from safelight.stories.conditions import Conditions
from safelight.stories.history import Simulation, scrapes, simulate, write_blocks
from safelight.stories.replay import replay
from tests.console.browsing import ARGUMENTS
from tests.console.running import console
from tests.console.scored import write_records
from tests.serving.conftest import RealService, serving

HOURS = 4
FAILING = "change_background"
NOWHERE = "http://127.0.0.1:9"


def conditions(_: int, at: float) -> Conditions:
    """Return a healthy service, except that most edits of one type fail."""
    return Conditions(rate=0.8, failures={FAILING: ("structure_corruption", 0.9)})


@pytest.fixture(scope="module")  # while it is open, no other test of the process can use asyncio
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    program = shutil.which("chromium")
    assert program, "scripts/setup installs chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("console")
    now = int(time.time()) // 60 * 60 + 3600  # samples must not end before the tests do
    times = scrapes((now - HOURS * 3600, now + 1, 60))
    write_blocks([simulate(Simulation("instructpix2pix", "safelight", conditions), times)], folder)
    with replay(folder) as prometheus:
        yield prometheus


@pytest.fixture(scope="session")
def address(past: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start `safelight console`, and return its address."""
    with console(tmp_path_factory.mktemp("served"), "--prometheus", past.url) as url:
        yield url


@pytest.fixture(scope="session")
def records_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of the records that the service writes and its console reads."""
    return f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}"


@pytest.fixture(scope="session")
def service(records_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Run `safelight serve demo-edit`."""
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, records_url=records_url, preview_every_steps="2") as running:
        yield running


@pytest.fixture(scope="session")
def served_address(
    service: RealService, records_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Start a console beside the service, without a Prometheus; return its address."""
    folder = tmp_path_factory.mktemp("beside")
    options = ("--prometheus", NOWHERE, "--service", service.url, "--records-url", records_url)
    with console(folder, *options) as url:
        yield url


@pytest.fixture(scope="session")
def full(past: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a console that has something to show on every page, and return its address."""
    folder = tmp_path_factory.mktemp("full")
    url = f"sqlite:///{folder / 'records.db'}"
    write_records(url, time.time())
    with serving(folder / "service", records_url=url) as service:
        options = ("--prometheus", past.url, "--records-url", url, "--service", service.url)
        with console(folder / "console", *options) as address:
            yield address
