"""A service for attacks, and the table of the results (`make attack`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.measuring import Watched
from tests.faults.conftest import write_rows
from tests.serving.conftest import serving

ROWS: list[tuple[str, ...]] = []
HEAD = (
    "attempt", "bound", "`/healthz` p99", "goodput of others", "memory", "log", "attacked for",
)  # fmt: skip
MARK = "make attack"


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run a service with the default limits and with records."""
    folder = tmp_path_factory.mktemp("attacked")
    settings = {
        "records_url": f"sqlite:///{folder / 'records.db'}",
        "log_format": "json",
        "structure_floor": "0",
        # Four neighbours in batches of any size fall in and out of step: their calm goodput varies
        # by 5 %. In pairs they keep the device busy, and it varies by 0.4 %.
        "batch_limit": "2",
        "breaker_rest_seconds": "1",
    }
    with serving(folder, "tests.attacks.model:painter", calm=False, **settings) as service:
        yield Watched(service.url, service.pid, folder / "log")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    for row in [HEAD, *ROWS] if ROWS else []:
        terminalreporter.write_line(" | ".join(row))


@pytest.fixture(scope="session", autouse=True)
def write_table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write the table into the page of `--reliability`, which `make attack` sets."""
    yield
    page = request.config.getoption("--reliability", default=None)
    if page and ROWS and not request.session.testsfailed:
        write_rows(Path(page), MARK, HEAD, ROWS)
