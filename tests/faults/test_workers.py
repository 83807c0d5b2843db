"""Workers that are killed, frozen, or have a model that misbehaves."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pytest

from safelight.metrics.catalog import (
    CIRCUIT_OPEN,
    DEVICE_SECONDS,
    OUTPUT_INVALID,
    REQUESTS,
    WORKER_RESTARTS,
)
from safelight.stack.tools.samples import photo
from tests.faults.conftest import Answer, Victim, ask, survived, told
from tests.serving.conftest import until

LARGE = photo(1600, 1200)
SIGNALS = {signal.SIGKILL: "kill -9", signal.SIGSTOP: "SIGSTOP"}
# What the worker is at when it is struck: what it is given, and after how long it is struck.
MOMENTS: dict[str, tuple[dict[str, Any], float]] = {
    "idle": ({}, 0.0),
    "decoding": ({"content": LARGE}, 0.02),
    "in the model": ({"instruction": "slowly", "steps": 40}, 0.3),
    "encoding": ({"content": LARGE}, 0.12),
}


@pytest.mark.parametrize("sent", SIGNALS, ids=SIGNALS.get)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_struck_worker_is_replaced_and_its_jobs_are_served(
    victim: Victim, sent: signal.Signals, moment: str
) -> None:
    work, after = MOMENTS[moment]
    restarts = victim.value(WORKER_RESTARTS)
    (worker,) = victim.workers

    async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
        at_work = [asyncio.create_task(ask(speaking, **work)) for _ in range(4 if work else 0)]
        await asyncio.sleep(after)
        os.kill(worker.pid, sent)
        more = [asyncio.create_task(ask(speaking)) for _ in range(4)]
        return list(await asyncio.gather(*at_work, *more))

    answers = victim.run(scenario, 40)

    assert {status for status, _ in answers} == {200}
    assert until(lambda: victim.value(WORKER_RESTARTS) > restarts, 10)
    victim.settles()
    survived(f"{SIGNALS[sent]} of a worker, {moment}", told(answers), "replaced; jobs tried again")


@pytest.mark.parametrize("sent", SIGNALS, ids=SIGNALS.get)
def test_a_worker_struck_while_it_loads_is_replaced(victim: Victim, sent: signal.Signals) -> None:
    (worker,) = victim.workers
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(_successor(victim, worker).pid, sent)
    answers = victim.run(lambda speaking: ask(speaking), 40)
    assert answers == (200, "none")
    victim.settles()
    survived(f"{SIGNALS[sent]} of a worker, loading", told([answers]), "replaced")


def _successor(victim: Victim, lost: psutil.Process) -> psutil.Process:
    """Wait for the process that takes the lost worker's place, and return it."""
    seen: list[psutil.Process] = []

    def appeared() -> bool:
        seen[:] = [worker for worker in victim.workers if worker.pid != lost.pid]
        return bool(seen)

    assert until(appeared, 10)
    return seen[0]


def test_a_model_that_kills_its_worker_each_time_takes_no_others_with_it(victim: Victim) -> None:
    async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
        return list(
            await asyncio.gather(
                *(ask(speaking, "slowly", steps=5) for _ in range(3)), ask(speaking, "die")
            )
        )

    answers = victim.run(scenario, 40)
    assert answers == [(200, "none")] * 3 + [(503, "worker_lost")]
    victim.settles()
    survived("a request that kills its worker, twice", told(answers), "replaced; others served")


def test_a_model_that_hangs_is_ended(victim: Victim) -> None:
    answers = [victim.run(lambda speaking: ask(speaking, "hang"), 30)]
    assert answers == [(503, "worker_lost")]
    assert victim.value(WORKER_RESTARTS, reason="hung") >= 2
    victim.settles()
    survived("a model that hangs, twice", told(answers), "replaced")


def test_a_lost_device_is_found_again(victim: Victim) -> None:
    answers = [victim.run(lambda speaking: ask(speaking, "poison"), 30)]
    assert answers == [(503, "worker_lost")]
    assert victim.value(WORKER_RESTARTS, reason="poisoned") == 2
    victim.settles()
    survived("a CUDA context that is lost, twice", told(answers), "replaced")


@pytest.mark.parametrize("sign", ["nan", "black"])
def test_no_unusable_image_leaves(victim: Victim, sign: str) -> None:
    before = victim.value(OUTPUT_INVALID)
    answers = [victim.run(lambda speaking: ask(speaking, sign), 10)]
    assert answers == [(502, "invalid_output")]
    assert victim.value(OUTPUT_INVALID) == before + 2  # another seed was tried
    assert victim.value(DEVICE_SECONDS, use="invalid") > 0
    victim.settles()
    survived(f"a model whose image is {sign}", told(answers), "tried with another seed")


def test_a_model_that_leaks_until_nothing_is_left_is_out_of_memory(victim: Victim) -> None:
    async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
        return [await ask(speaking, "leak") for _ in range(12)]

    answers = victim.run(scenario, 40)
    assert answers[0] == (200, "none")
    assert answers[-1] == (503, "cuda_oom")
    os.kill(victim.workers[0].pid, signal.SIGKILL)  # what an operator, or the kernel, does
    victim.settles()
    survived("a model that leaks until allocation fails", told(answers), "said so; no hang")


def test_a_model_that_always_raises_is_left_alone_for_a_while(own: Callable[..., Any]) -> None:
    with own(breaker_failures="5", breaker_rest_seconds="1") as service:
        victim = Victim(service)

        async def scenario(speaking: httpx.AsyncClient) -> list[Answer]:
            return [await ask(speaking, "raise") for _ in range(20)]

        answers = victim.run(scenario, 20)
        assert answers[:5] == [(500, "model_error")] * 5
        assert answers[5:] == [(503, "circuit_open")] * 15
        assert victim.value(CIRCUIT_OPEN) == 1
        assert until(lambda: victim.service.edit().status_code == 200, 5)
        assert victim.value(CIRCUIT_OPEN) == 0
        assert victim.value(REQUESTS, error="model_error") == 5
        victim.settles()
    survived("a model that raises, 20 times", told(answers), "left alone, then tried: closed again")
