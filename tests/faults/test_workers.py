"""Workers that are killed or frozen, and models that fail."""

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
from tests.faults.conftest import Outcome, Victim, counted, record, send_edit
from tests.serving.conftest import until

LARGE = photo(1600, 1200)
SIGNALS = {signal.SIGKILL: "kill -9", signal.SIGSTOP: "SIGSTOP"}
# The worker's activity when it gets the signal: its work, and the seconds until the signal.
MOMENTS: dict[str, tuple[dict[str, Any], float]] = {
    "idle": ({}, 0.0),
    "decoding": ({"content": LARGE}, 0.02),
    "in the model": ({"instruction": "slowly", "steps": 40}, 0.3),
    "encoding": ({"content": LARGE}, 0.12),
}


@pytest.mark.parametrize("sent", SIGNALS, ids=SIGNALS.get)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lost_worker_is_replaced_and_its_jobs_are_served(
    victim: Victim, sent: signal.Signals, moment: str
) -> None:
    work, after = MOMENTS[moment]
    restarts = victim.value(WORKER_RESTARTS)
    (worker,) = victim.workers

    async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
        running = [asyncio.create_task(send_edit(http, **work)) for _ in range(4 if work else 0)]
        await asyncio.sleep(after)
        os.kill(worker.pid, sent)
        more = [asyncio.create_task(send_edit(http)) for _ in range(4)]
        return list(await asyncio.gather(*running, *more))

    answers = victim.run(scenario, 40)

    assert {status for status, _ in answers} == {200}
    assert until(lambda: victim.value(WORKER_RESTARTS) > restarts, 10)
    victim.settles()
    record(f"{SIGNALS[sent]} of a worker, {moment}", counted(answers), "replaced; jobs retried")


@pytest.mark.parametrize("sent", SIGNALS, ids=SIGNALS.get)
def test_a_worker_lost_while_it_loads_is_replaced(victim: Victim, sent: signal.Signals) -> None:
    (worker,) = victim.workers
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(_successor(victim, worker).pid, sent)
    answers = victim.run(lambda http: send_edit(http), 40)
    assert answers == (200, "none")
    victim.settles()
    record(f"{SIGNALS[sent]} of a worker, loading", counted([answers]), "replaced")


def _successor(victim: Victim, lost: psutil.Process) -> psutil.Process:
    """Wait for the process that replaces the lost worker, and return it."""
    workers: list[psutil.Process] = []

    def appeared() -> bool:
        workers[:] = [worker for worker in victim.workers if worker.pid != lost.pid]
        return bool(workers)

    assert until(appeared, 10)
    return workers[0]


def test_a_request_that_kills_its_worker_affects_no_other_request(victim: Victim) -> None:
    async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
        return list(
            await asyncio.gather(
                *(send_edit(http, "slowly", steps=5) for _ in range(3)), send_edit(http, "die")
            )
        )

    answers = victim.run(scenario, 40)
    assert answers == [(200, "none")] * 3 + [(503, "worker_lost")]
    victim.settles()
    record("a request that kills its worker, twice", counted(answers), "replaced; others served")


def test_a_worker_with_a_hanging_model_is_replaced(victim: Victim) -> None:
    answers = [victim.run(lambda http: send_edit(http, "hang"), 30)]
    assert answers == [(503, "worker_lost")]
    assert victim.value(WORKER_RESTARTS, reason="hung") >= 2
    victim.settles()
    record("a model that hangs, twice", counted(answers), "replaced")


def test_a_worker_with_a_lost_cuda_context_is_replaced(victim: Victim) -> None:
    answers = [victim.run(lambda http: send_edit(http, "poison"), 30)]
    assert answers == [(503, "worker_lost")]
    assert victim.value(WORKER_RESTARTS, reason="poisoned") == 2
    victim.settles()
    record("a CUDA context that is lost, twice", counted(answers), "replaced")


@pytest.mark.parametrize("sign", ["nan", "black"])
def test_an_invalid_image_is_never_sent(victim: Victim, sign: str) -> None:
    before = victim.value(OUTPUT_INVALID)
    answers = [victim.run(lambda http: send_edit(http, sign), 10)]
    assert answers == [(502, "invalid_output")]
    assert victim.value(OUTPUT_INVALID) == before + 2  # it was retried with another seed
    assert victim.value(DEVICE_SECONDS, use="invalid") > 0
    victim.settles()
    record(f"a model whose image is {sign}", counted(answers), "retried with another seed")


def test_a_worker_that_leaks_host_memory_is_not_kept_until_every_job_fails(
    own: Callable[..., Any],
) -> None:
    with own(breaker_failures="1000") as service:
        victim = Victim(service)
        (first,) = victim.workers

        async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
            return [await send_edit(http, "leak") for _ in range(12)]

        answers = victim.run(scenario, 60)
        assert answers[0] == (200, "none")
        failed = [answer for answer in answers if answer[0] != 200]
        assert set(failed) == {(503, "host_oom")}
        restarts = victim.value(WORKER_RESTARTS, reason="memory")
        assert restarts >= 1
        # One job fails as a warning; the job that shows the leak is served by the next worker.
        assert len(failed) <= restarts + 1
        assert victim.value(WORKER_RESTARTS) == restarts
        assert [worker.pid for worker in victim.workers] != [first.pid]
        victim.settles()
    record("a model that leaks until allocation fails", counted(answers), "replaced; jobs retried")


def test_a_job_that_does_not_fit_replaces_no_worker(victim: Victim) -> None:
    (worker,) = victim.workers
    restarts = victim.value(WORKER_RESTARTS)

    async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
        return [await send_edit(http, "fits 0") for _ in range(5)]

    assert victim.run(lambda http: send_edit(http), 10) == (200, "none")
    assert victim.run(scenario, 20) == [(503, "cuda_oom")] * 5
    assert [each.pid for each in victim.workers] == [worker.pid]
    assert victim.value(WORKER_RESTARTS) == restarts
    victim.settles()


def test_a_model_that_always_fails_opens_the_circuit(own: Callable[..., Any]) -> None:
    with own(breaker_failures="5", breaker_rest_seconds="1") as service:
        victim = Victim(service)

        async def scenario(http: httpx.AsyncClient) -> list[Outcome]:
            return [await send_edit(http, f"raise {number}") for number in range(20)]

        answers = victim.run(scenario, 20)
        assert answers[:5] == [(500, "model_error")] * 5
        assert answers[5:] == [(503, "circuit_open")] * 15
        assert victim.value(CIRCUIT_OPEN) == 1
        assert until(lambda: victim.service.edit().status_code == 200, 5)
        assert victim.value(CIRCUIT_OPEN) == 0
        assert victim.value(REQUESTS, error="model_error") == 5
        victim.settles()
    record("a model that raises, 20 times", counted(answers), "circuit open, then closed")
