"""Open-loop traffic: send requests at fixed times, without waiting for responses.

Clients that wait for responses would send less to a slow service and hide its delays.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import ceil
from time import perf_counter

import httpx

from safelight.stack.tools.samples import parse_task, sample

MAX_REQUESTS = 100_000
_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests to send: rate, duration and mixture; empty mixtures use the samples."""

    rate: float
    duration_seconds: float
    sizes: tuple[tuple[int, int], ...] = ()
    instructions: tuple[str, ...] = ()
    steps: int | None = None
    task: str = "edit"
    in_flight_limit: int = 256
    seed: int = 0

    @property
    def requests(self) -> int:
        """Return the total number of requests, at most MAX_REQUESTS."""
        return min(MAX_REQUESTS, max(1, round(self.rate * self.duration_seconds)))


@dataclass(slots=True)
class Summary:
    """The results of the traffic.

    `skipped` requests were not sent because too many others had no response yet. `warned` ones
    succeeded with a warning of the service about the image.
    """

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    warned: int = 0
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Return the number of requests that succeeded or failed."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Return the number of failed requests."""
        return self.sent - self.outcomes["ok"]

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile of the successful requests' seconds, or None without any."""
        ordered = sorted(self.seconds)
        return ordered[max(ceil(q * len(ordered)) - 1, 0)] if ordered else None


async def drive(
    traffic: Traffic,
    url: str,
    *,
    client: httpx.AsyncClient,
    on_progress: Callable[[Summary], None] = lambda summary: None,  # noqa: ARG005
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = perf_counter,
) -> Summary:
    """Send the traffic, and return the results after the last response."""
    summary, chance = Summary(), random.Random(traffic.seed)
    started, running = clock(), set[asyncio.Task[None]]()

    def done(task: asyncio.Task[None]) -> None:
        running.discard(task)
        on_progress(summary)

    async with asyncio.TaskGroup() as group:  # cancels the requests if it is cancelled
        for number in range(traffic.requests):
            pause = started + number / traffic.rate - clock()
            if pause > 0:
                await sleep(pause)
            if len(running) >= traffic.in_flight_limit:
                summary.skipped += 1
                on_progress(summary)
                continue
            task = group.create_task(_send(traffic, url, client, chance, summary))
            running.add(task)
            task.add_done_callback(done)
    return summary


async def _send(
    traffic: Traffic, url: str, client: httpx.AsyncClient, chance: random.Random, summary: Summary
) -> None:
    request = sample(
        traffic.task,
        instruction=chance.choice(traffic.instructions or (None,)),
        size=chance.choice(traffic.sizes or (None,)),
        seed=chance.randrange(_SEEDS),
        steps=traffic.steps,
    )
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    started = perf_counter()
    try:
        response = await client.post(
            f"{url}{request.path}",
            params=request.params,
            content=request.content,
            json=request.json,
            headers={**request.headers, "traceparent": trace},
        )
    except httpx.HTTPError as error:
        summary.outcomes[type(error).__name__] += 1
        return
    summary.outcomes[_outcome(response)] += 1
    if response.is_success:
        summary.seconds.append(perf_counter() - started)
        warnings = _warnings(response)
        summary.warned += bool(warnings)
        summary.warnings.update(warnings)


async def task_of(url: str, client: httpx.AsyncClient) -> str:
    """Return the task of a service; `edit` if the service cannot be reached."""
    try:
        return parse_task(await client.get(f"{url}/v1/models"))
    except httpx.HTTPError:
        return "edit"


def _warnings(response: httpx.Response) -> set[str]:
    """Return the reasons in the warning header of a response."""
    reasons = response.headers.get("x-safelight-warning", "").split(",")
    return {reason.strip() for reason in reasons if reason.strip()}


def _outcome(response: httpx.Response) -> str:
    if response.is_success:
        return "ok"
    try:
        return str(response.json()["reason"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"
