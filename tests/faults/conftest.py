"""A real service for fault injection, and the table of the results (`make faults`)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from safelight.metrics.catalog import IN_FLIGHT, QUEUE_DEPTH, QUEUED_WORK
from safelight.metrics.metric import Metric
from tests.serving.conftest import RealService, answers, serving, until
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER

RESULTS: list[tuple[str, str, str]] = []
HEAD = ("fault", "responses", "recovery")
NAMESPACE = "instructpix2pix"
QUICK = {"hang_seconds": "4", "gpu_interval_seconds": "0.5", "log_format": "json"}

Outcome = tuple[int, str]


class Victim:
    """A running service that gets the faults."""

    def __init__(self, service: RealService) -> None:
        self.service = service
        self.url = service.url

    @property
    def workers(self) -> list[psutil.Process]:
        """Return the current worker processes."""
        children = psutil.Process(self.service.pid).children()
        return [child for child in children if _is_worker(child)]

    def value(self, metric: Metric, **labels: str) -> float:
        return self.service.value(metric.full_name(NAMESPACE), **labels)

    def run(self, scenario: Callable[[httpx.AsyncClient], Awaitable[Any]], seconds: float) -> Any:
        """Run a scenario; it fails if it does not end within `seconds`."""

        async def running() -> Any:
            limits = httpx.Limits(max_connections=None)
            async with (
                httpx.AsyncClient(base_url=self.url, timeout=seconds, limits=limits) as http,
                asyncio.timeout(seconds),
            ):
                return await scenario(http)

        return asyncio.run(running())

    def settles(self) -> None:
        """Check the recovery: a valid request succeeds, and every gauge returns to 0."""
        assert until(lambda: answers(f"{self.url}/readyz"), 20)
        response = self.service.edit(instruction="make him old")
        assert response.status_code == 200, response.text
        for gauge in (IN_FLIGHT, QUEUE_DEPTH, QUEUED_WORK):
            assert until(partial(self._is_zero, gauge), 5), gauge.name

    def _is_zero(self, gauge: Metric) -> bool:
        return self.value(gauge) == 0


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "safelight.serving.worker.child" in process.cmdline()
    except psutil.Error:  # it is a zombie, or has ended
        return False


async def send_edit(
    http: httpx.AsyncClient, instruction: str = "make him old", **more: Any
) -> Outcome:
    """Send one edit; return its status and reason."""
    content, headers = more.pop("content", PICTURE), more.pop("headers", {})
    response = await http.post(
        "/api/edit",
        content=content,
        params={"instruction": instruction, "steps": 2, **more},
        headers={"content-type": "image/jpeg", **headers},
    )
    return response.status_code, "none" if response.is_success else response.json()["reason"]


def counted(outcomes: list[Outcome]) -> str:
    """Return the number of each outcome as text."""
    counts = Counter(f"{status} {reason}".removesuffix(" none") for status, reason in outcomes)
    return ", ".join(f"{number} x {outcome}" for outcome, number in sorted(counts.items()))


def record(fault: str, responses: str, recovery: str) -> None:
    """Add a row to the table."""
    RESULTS.append((fault, responses, recovery))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Run one service for the faults of a file."""
    with serving(
        tmp_path_factory.mktemp("victim"), PAINTER, calm=False, breaker_failures="1000", **QUICK
    ) as service:
        yield Victim(service)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs another service, with its settings."""
    return lambda **settings: serving(tmp_path, PAINTER, calm=False, **{**QUICK, **settings})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not RESULTS:
        return
    terminalreporter.write_line("")
    for line in lines_of(HEAD, RESULTS):
        terminalreporter.write_line(line)


def lines_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table, as Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"


@pytest.fixture(scope="session", autouse=True)
def write_table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write the table into the page of `--reliability`, which `make faults` sets."""
    yield
    page = request.config.getoption("--reliability", default=None)
    if page and RESULTS and not request.session.testsfailed:
        write_rows(Path(page), "make faults", HEAD, RESULTS)


def write_rows(
    page: Path, command: str, head: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a table between the marks of a command."""
    begin, end = f"<!-- begin: made by `{command}` -->", "<!-- end -->"
    before, rest = page.read_text().split(begin)
    after = rest.split(end, 1)[1]
    page.write_text("\n".join((before + begin, *lines_of(head, rows), end + after)))
