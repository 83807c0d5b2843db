"""Measure what an attempt does to others: health checks, goodput, memory, log, workers."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

import httpx
import psutil

from safelight.stack.tools.samples import photo
from tests.attacks.attempts import READY, Attempt, neighbours_id

NEIGHBOURS = 4
_HEALTH_PAUSE_SECONDS = 0.02
_BEGIN_SECONDS = 0.7
_TURNS = [count() for _ in range(NEIGHBOURS)]  # a request that is sent again is not run again


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
    return asyncio.run(_measure(watched, seconds, None))[0]


def measure_attack(
    watched: Watched, attempt: Attempt, calm_seconds: float, seconds: float
) -> tuple[Measured, Measured]:
    """Measure before and during an attempt; the neighbours work all the time."""
    calm, under = asyncio.run(_measure(watched, calm_seconds, (attempt, seconds)))
    return calm, under


async def _measure(
    watched: Watched, seconds: float, attack: tuple[Attempt, float] | None
) -> list[Measured]:
    seen = _Seen()
    async with httpx.AsyncClient(base_url=watched.url, timeout=30) as http:
        tasks = [asyncio.create_task(_check_health(http, seen))]
        tasks += [asyncio.create_task(_work(http, number, seen)) for number in range(NEIGHBOURS)]
        measured = [await _watch(watched, seconds, seen)]
        if attack is not None:
            with await asyncio.to_thread(attacking, attack[0], watched.url):
                await asyncio.sleep(_BEGIN_SECONDS)
                measured.append(await _watch(watched, attack[1], seen))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return measured


@dataclass
class _Seen:
    """What the neighbours have seen since the measuring began."""

    delays: list[float] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)


async def _watch(watched: Watched, seconds: float, seen: _Seen) -> Measured:
    seen.delays.clear()
    seen.outcomes.clear()
    logged, started, most = watched.log.stat().st_size, perf_counter(), 0
    while perf_counter() < started + seconds:
        most = max(most, watched.memory())
        await asyncio.sleep(0.1)
    passed = perf_counter() - started
    failed = [outcome for outcome in seen.outcomes if outcome != "200"]
    return Measured(
        sorted(seen.delays)[int(len(seen.delays) * 0.99)] if seen.delays else seconds,
        seen.outcomes.count("200") / passed,
        most,
        (watched.log.stat().st_size - logged) / passed,
        {reason: failed.count(reason) for reason in sorted(set(failed))},
        watched.workers(),
    )


async def _check_health(http: httpx.AsyncClient, seen: _Seen) -> None:
    """Ask for health on new connections: a kept one would not notice that no more fit."""
    while True:
        started = perf_counter()
        try:
            ok = (await http.get("/healthz", headers={"connection": "close"})).is_success
        except httpx.TransportError:
            ok = False
        seen.delays.append(perf_counter() - started if ok else 30.0)
        await asyncio.sleep(_HEALTH_PAUSE_SECONDS)


async def _work(http: httpx.AsyncClient, number: int, seen: _Seen) -> None:
    """Send edits one after another, each with an id of its own."""
    picture = photo(64, 64)
    for turn in _TURNS[number]:
        headers = {
            "content-type": "image/jpeg",
            "x-request-id": neighbours_id(number, turn),
            "x-forwarded-for": f"192.0.2.{number}",  # each has an address of its own
        }
        params = {"instruction": "slowly make him old", "steps": "5"}
        try:
            answer = await http.post("/api/edit", content=picture, params=params, headers=headers)
            seen.outcomes.append(str(answer.status_code))
        except httpx.TransportError as error:
            seen.outcomes.append(type(error).__name__)


class attacking:  # noqa: N801 - used like a function
    """An attempt in its own process, until the block ends. It has begun when this is made."""

    def __init__(self, attempt: Attempt, url: str) -> None:
        command = [sys.executable, "-m", "tests.attacks.attempts", attempt.name, url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == READY, "the attempt did not begin"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        ended = self._process.poll() is not None
        self._process.kill()
        self._process.communicate()
        assert not ended, "the attempt ended early"
