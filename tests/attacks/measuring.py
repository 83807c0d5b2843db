"""Measure what an attempt does to others: health checks, goodput, memory, log, workers."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import httpx
import psutil

from safelight.stack.tools.samples import photo
from tests.attacks.attempts import READY, Attempt

NEIGHBOURS = 4
_HEALTH_PAUSE_SECONDS = 0.02
_WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Measured:
    """What others saw in some seconds."""

    health_p99_seconds: float
    good_per_second: float
    memory_bytes: int
    log_bytes_per_second: float
    failures: dict[str, int]
    workers: frozenset[int]


@dataclass(frozen=True)
class Watched:
    """A running service, as its neighbours and its operator see it."""

    url: str
    pid: int
    log: Path

    def tree(self) -> list[psutil.Process]:
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    def memory(self) -> int:
        """Return the resident bytes of all processes."""
        total = 0
        for process in self.tree():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def workers(self) -> frozenset[int]:
        return frozenset(process.pid for process in self.tree()[1:])


def measure(watched: Watched, seconds: float) -> Measured:
    """Measure for some seconds while neighbours work."""
    return asyncio.run(_measure(watched, seconds))


async def _measure(watched: Watched, seconds: float) -> Measured:
    delays: list[float] = []
    outcomes: list[str] = []
    logged, started, most = watched.log.stat().st_size, perf_counter(), 0
    async with httpx.AsyncClient(base_url=watched.url, timeout=30) as http:
        tasks = [asyncio.create_task(_check_health(http, delays))]
        tasks += [asyncio.create_task(_work(http, n, outcomes)) for n in range(NEIGHBOURS)]
        end = started + seconds
        while perf_counter() < end:
            most = max(most, watched.memory())
            await asyncio.sleep(0.1)
        passed = perf_counter() - started
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    failed = [outcome for outcome in outcomes if outcome != "200"]
    return Measured(
        sorted(delays)[int(len(delays) * 0.99)] if delays else seconds,
        outcomes.count("200") / passed,
        most,
        (watched.log.stat().st_size - logged) / passed,
        {reason: failed.count(reason) for reason in sorted(set(failed))},
        watched.workers(),
    )


async def _check_health(http: httpx.AsyncClient, delays: list[float]) -> None:
    """Ask for health on new connections: a kept one would not notice that no more fit."""
    while True:
        started = perf_counter()
        try:
            ok = (await http.get("/healthz", headers={"connection": "close"})).is_success
        except httpx.TransportError:
            ok = False
        delays.append(perf_counter() - started if ok else 30.0)
        await asyncio.sleep(_HEALTH_PAUSE_SECONDS)


async def _work(http: httpx.AsyncClient, number: int, outcomes: list[str]) -> None:
    """Send edits one after another, each with an id of its own."""
    picture = photo(64, 64)
    for turn in range(1_000_000):
        headers = {
            "content-type": "image/jpeg",
            "x-request-id": f"neighbour-{number}-{turn}",
            "x-forwarded-for": f"192.0.2.{number}",  # each has an address of its own
        }
        params = {"instruction": "slowly make him old", "steps": "5"}
        try:
            answer = await http.post("/api/edit", content=picture, params=params, headers=headers)
            outcomes.append(str(answer.status_code))
        except httpx.TransportError as error:
            outcomes.append(type(error).__name__)


@contextmanager
def attacking(attempt: Attempt, url: str) -> Iterator[None]:
    """Run an attempt in its own process until the block ends."""
    command = [sys.executable, "-m", "tests.attacks.attempts", attempt.name, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == READY, "the attempt did not begin"
        yield
        assert process.poll() is None, "the attempt ended early"
    finally:
        process.kill()
        process.communicate()
