"""Open-loop traffic: requests leave when their time has come, whether or not others were answered.

So a slow service is not spared, as it would be by clients that wait for their answers.
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

from safelight.stack.tools.samples import sample, task_told

MOST_REQUESTS = 100_000
_SEEDS = 2**32


@dataclass(frozen=True, slots=True)
class Traffic:
    """What to send: per second, for how long, and which mixture; without one, the samples."""

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
        """Return how many requests are due in all, bounded."""
        return min(MOST_REQUESTS, max(1, round(self.rate * self.duration_seconds)))


@dataclass(slots=True)
class Summary:
    """What became of the traffic; `skipped` were due while too many others were unanswered.

    `warned` are those of the good answers whose picture the service itself calls faulty.
    """

    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    warned: int = 0
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Return how many requests were answered or failed."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Return how many requests got no good answer."""
        return self.sent - self.outcomes["ok"]

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile of the good answers' seconds, if there was one."""
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
    """Send the traffic, and return what became of it once the last answer is in."""
    summary, chance = Summary(), random.Random(traffic.seed)
    started, running = clock(), set[asyncio.Task[None]]()

    def done(task: asyncio.Task[None]) -> None:
        running.discard(task)
        on_progress(summary)

    async with asyncio.TaskGroup() as group:  # one that is cancelled takes its requests along
        for number in range(traffic.requests):
            ahead = started + number / traffic.rate - clock()
            if ahead > 0:
                await sleep(ahead)
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
    wanted = sample(
        traffic.task,
        instruction=chance.choice(traffic.instructions or (None,)),
        size=chance.choice(traffic.sizes or (None,)),
        seed=chance.randrange(_SEEDS),
        steps=traffic.steps,
    )
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    started = perf_counter()
    try:
        answer = await client.post(
            f"{url}{wanted.path}",
            params=wanted.params,
            content=wanted.content,
            json=wanted.json,
            headers={**wanted.headers, "traceparent": trace},
        )
    except httpx.HTTPError as error:
        summary.outcomes[type(error).__name__] += 1
        return
    summary.outcomes[_outcome(answer)] += 1
    if answer.is_success:
        summary.seconds.append(perf_counter() - started)
        warnings = _warnings(answer)
        summary.warned += bool(warnings)
        summary.warnings.update(warnings)


async def task_of(url: str, client: httpx.AsyncClient) -> str:
    """Return what a service does; one out of reach will be asked to edit."""
    try:
        return task_told(await client.get(f"{url}/v1/models"))
    except httpx.HTTPError:
        return "edit"


def _warnings(answer: httpx.Response) -> set[str]:
    """Return what an answer says is wrong with the picture that it sends all the same."""
    told = answer.headers.get("x-safelight-warning", "").split(",")
    return {reason for each in told if (reason := each.strip())}


def _outcome(answer: httpx.Response) -> str:
    if answer.is_success:
        return "ok"
    try:
        return str(answer.json()["reason"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
