"""A real service to be hurt, and the table of what it survived (`make faults`)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
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

SURVIVED: list[tuple[str, str, str]] = []
NAMESPACE = "instructpix2pix"
QUICK = {"hang_seconds": "4", "gpu_interval_seconds": "0.5", "log_format": "json"}

Answer = tuple[int, str]


class Victim:
    """A running service, what is done to it, and what its callers were told."""

    def __init__(self, service: RealService) -> None:
        self.service = service
        self.url = service.url

    @property
    def workers(self) -> list[psutil.Process]:
        """Return the worker processes that there are now."""
        children = psutil.Process(self.service.pid).children()
        return [child for child in children if _is_worker(child)]

    def value(self, metric: Metric, **labels: str) -> float:
        return self.service.value(metric.full_name(NAMESPACE), **labels)

    def run(self, scenario: Callable[[httpx.AsyncClient], Awaitable[Any]], seconds: float) -> Any:
        """Run a scenario; one that does not end in time is a hang, and fails."""

        async def running() -> Any:
            limits = httpx.Limits(max_connections=None)
            async with (
                httpx.AsyncClient(base_url=self.url, timeout=seconds, limits=limits) as speaking,
                asyncio.timeout(seconds),
            ):
                return await scenario(speaking)

        return asyncio.run(running())

    def settles(self) -> None:
        """Hold that nothing is left over: every gauge is 0, and a good request is served."""
        assert until(lambda: answers(f"{self.url}/readyz"), 20)
        good = self.service.edit(instruction="make him old")
        assert good.status_code == 200, good.text
        for gauge in (IN_FLIGHT, QUEUE_DEPTH, QUEUED_WORK):
            assert until(partial(self._at_zero, gauge), 5), gauge.name

    def _at_zero(self, gauge: Metric) -> bool:
        return self.value(gauge) == 0


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "safelight.serving.worker.child" in process.cmdline()
    except psutil.Error:  # it is a zombie, or gone
        return False


async def ask(
    speaking: httpx.AsyncClient, instruction: str = "make him old", **more: Any
) -> Answer:
    """Send one edit; return its status and reason."""
    content, headers = more.pop("content", PICTURE), more.pop("headers", {})
    answer = await speaking.post(
        "/api/edit",
        content=content,
        params={"instruction": instruction, "steps": 2, **more},
        headers={"content-type": "image/jpeg", **headers},
    )
    return answer.status_code, "none" if answer.is_success else answer.json()["reason"]


def told(answers: list[Answer]) -> str:
    """Return how many callers were told what."""
    counts = Counter(f"{status} {reason}".removesuffix(" none") for status, reason in answers)
    return ", ".join(f"{number} x {what}" for what, number in sorted(counts.items()))


def survived(fault: str, answers: str, then: str) -> None:
    """Enter a row into the table."""
    SURVIVED.append((fault, answers, then))


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """Run one service for the faults of a file."""
    with serving(
        tmp_path_factory.mktemp("victim"), PAINTER, calm=False, breaker_failures="1000", **QUICK
    ) as service:
        yield Victim(service)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Any]:
    """Return how to run a service of one's own, with settings."""
    return lambda **settings: serving(tmp_path, PAINTER, calm=False, **{**QUICK, **settings})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not SURVIVED:
        return
    terminalreporter.write_line("")
    for line in table():
        terminalreporter.write_line(line)


def table() -> Iterator[str]:
    """Yield the lines of the table, as Markdown."""
    yield "| fault | what callers were told | then |"
    yield "|---|---|---|"
    for row in SURVIVED:
        yield f"| {' | '.join(row)} |"


@pytest.fixture(scope="session", autouse=True)
def written(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write the table into docs/reliability.md, where `make faults` asks for it."""
    yield
    page = request.config.getoption("--reliability", default=None)
    if page and not request.session.testsfailed:
        _write(Path(page))


def _write(page: Path) -> None:
    begin, end = "<!-- begin: made by `make faults` -->", "<!-- end -->"
    text = page.read_text()
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    page.write_text("\n".join((head + begin, *table(), end + tail)))
