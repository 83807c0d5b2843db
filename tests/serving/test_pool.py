"""The pool, with a real worker process: what becomes of jobs when things go wrong."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from safelight.errors import ModelNotFound, NotReady, Timeout, Unusable, WorkerLost
from safelight.metrics.catalog import MODEL_INFO
from safelight.metrics.registry import Meter, parse
from safelight.serving.deadline import deadline
from safelight.serving.pool import Pool
from safelight.serving.process import WorkerProcess
from safelight.serving.protocol import Kind, Message
from safelight.settings import load
from tests.serving.jobs import a_job

READY_SECONDS = 60.0


def with_pool(scenario: Callable[[Pool, Meter], Awaitable[None]], **settings: Any) -> None:
    """Run a scenario on a pool that is stopped whatever happens."""

    async def running() -> None:
        meter = Meter("tests")
        pool = Pool(load(**settings), meter)
        keeper = pool.start()
        try:
            await scenario(pool, meter)
        finally:
            await pool.stop()
        assert keeper.done()
        assert pool.pid is None

    asyncio.run(asyncio.wait_for(running(), 2 * READY_SECONDS))


async def until_ready(pool: Pool) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while not pool.ready:  # noqa: ASYNC110 - a flag that only its owner could signal
            await asyncio.sleep(0.02)


def counted(meter: Meter, name: str, **labels: str) -> float:
    return parse(meter.expose().body.decode()).get((name, frozenset(labels.items())), 0.0)


def test_a_pool_loads_serves_survives_a_kill_and_hears_of_deadlines() -> None:
    async def scenario(pool: Pool, meter: Meter) -> None:
        with pytest.raises(NotReady):
            await pool.run(a_job())
        await until_ready(pool)
        assert counted(meter, "tests_workers_ready") == 1

        await _serves_in_order(pool)
        await _hears_of_a_deadline(pool)
        await _survives_a_kill(pool, meter)

    with_pool(scenario)


async def _serves_in_order(pool: Pool) -> None:
    jobs = [a_job(str(number)) for number in range(3)]
    order: list[str] = []

    async def serve(number: int) -> None:
        await pool.run(jobs[number])
        order.append(jobs[number].id)

    tasks = [asyncio.create_task(serve(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert pool.waiting == 2
    await asyncio.gather(*tasks)

    assert (order, pool.waiting) == (["0", "1", "2"], 0)
    last = jobs[2].exchange
    assert last.timeline.seconds["queue"] > last.timeline.seconds["denoise"]
    assert last.calls[0].instruction_type == last.instruction_type
    assert len(last.calls[0].step_seconds) == 2


async def _hears_of_a_deadline(pool: Pool) -> None:
    soon = asyncio.get_running_loop().time() + 0.05
    long = a_job("long", steps=1000, deadline=soon)

    with pytest.raises(Timeout):
        await deadline(pool.run, limit_seconds=0.05)(long)

    next_job = a_job("next")
    await pool.run(next_job)
    assert next_job.exchange.timeline.seconds["queue"] < 5.0  # not a thousand steps


async def _survives_a_kill(pool: Pool, meter: Meter) -> None:
    first = pool.pid
    assert first is not None
    struck = asyncio.create_task(pool.run(a_job("struck", steps=100)))
    waits = asyncio.create_task(pool.run(a_job("waits")))
    await asyncio.sleep(0.1)

    os.kill(first, signal.SIGKILL)

    with pytest.raises(WorkerLost):
        await struck
    assert counted(meter, "tests_workers_ready") == 0
    outcome = await waits  # by the worker's successor
    assert outcome.size == (64, 64)
    assert pool.pid != first
    assert counted(meter, "tests_worker_restarts_total", reason="died") == 1


def test_a_model_that_cannot_be_loaded_ends_the_pool_with_the_reason(tmp_path: Path) -> None:
    async def scenario(pool: Pool, meter: Meter) -> None:
        keeper = next(task for task in asyncio.all_tasks() if task.get_name() == "safelight-pool")
        with pytest.raises(Unusable, match=r"no model_index\.json") as failed:
            await keeper
        assert failed.value.exit_code == ModelNotFound.exit_code

    with_pool(scenario, model=str(tmp_path))


def test_a_worker_that_never_loads_is_given_up_after_ever_longer_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stillborn:
        pid = None

        async def receive(self) -> None:
            return None

        async def stop(self) -> None:
            return None

    async def start(_settings: Any) -> Stillborn:
        return Stillborn()

    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(WorkerProcess, "start", start)

    async def scenario() -> None:
        pool = Pool(load(restart_limit=4), Meter("tests"), sleep=sleep)
        with pytest.raises(Unusable, match="5 times in a row"):
            await pool.start()

    asyncio.run(scenario())
    assert rests == [1.0, 2.0, 4.0, 8.0]


class Scripted:
    """A worker that says what it was given, then hangs or ends."""

    pid = 1

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.heard = asyncio.Event()
        self.ends = asyncio.Event()

    async def receive(self) -> Message | None:
        if self._messages:
            return self._messages.pop(0)
        self.heard.set()
        await self.ends.wait()
        return None

    async def stop(self) -> None:
        return None


def test_p6_what_a_worker_tells_of_its_memory_is_shown_and_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = {
        "model": "m", "pipeline": "P", "scheduler": "S", "precision": "float16", "device": "cuda:0",
    }  # fmt: skip
    reading = {"device": "cuda:0", "used_bytes": 3, "reserved_bytes": 5, "peak_bytes": 4}
    worker = Scripted(
        Message(Kind.READY, {"model": info, "load_seconds": 2.5}),
        Message(Kind.VRAM, {"readings": [reading]}),
    )

    async def start(_settings: Any) -> Scripted:
        return worker

    monkeypatch.setattr(WorkerProcess, "start", start)

    async def scenario(pool: Pool, meter: Meter) -> None:
        await worker.heard.wait()
        on = {"device": "cuda:0"}
        assert counted(meter, "tests_vram_used_bytes", **on) == 3
        assert counted(meter, "tests_vram_reserved_bytes", **on) == 5
        assert counted(meter, "tests_vram_peak_bytes", **on) == 4
        assert counted(meter, "tests_model_load_seconds") == 2.5
        assert counted(meter, "tests_model_info", **info) == 1

        worker.heard.clear()
        worker.ends.set()
        await worker.heard.wait()
        shown = {name for name, _ in parse(meter.expose().body.decode())}
        assert not any(name.startswith("tests_vram") for name in shown)

    with_pool(scenario)


def test_a_worker_that_hangs_is_ended_and_replaced() -> None:
    async def scenario(pool: Pool, meter: Meter) -> None:
        await until_ready(pool)
        hung = pool.pid
        assert hung is not None
        os.kill(hung, signal.SIGSTOP)
        soon = asyncio.get_running_loop().time() + 0.2

        with pytest.raises(Timeout):
            await deadline(pool.run, limit_seconds=0.2)(a_job("stuck", deadline=soon))
        outcome = await pool.run(a_job("next"))

        assert outcome.size == (64, 64)
        assert pool.pid != hung
        assert counted(meter, "tests_worker_restarts_total", reason="hung") == 1

    with_pool(scenario, hang_seconds=0.5)


def test_a_job_that_waits_outlives_a_worker_that_ends_as_it_becomes_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = Message(
        Kind.READY, {"model": dict.fromkeys(MODEL_INFO.label_names, "x"), "load_seconds": 0}
    )
    answered: dict[str, Any] = {
        "stages": {},
        "call": None,
        "probe_failures": ["diffusers"],
        "size": [64, 64],
    }

    class Brief(Scripted):
        """Answers one job, and is gone in the same breath."""

        def send(self, message: Message) -> None:
            if message.kind is Kind.JOB:
                told = {**answered, "id": message.fields["id"]}
                self._messages.append(Message(Kind.DONE, told, b"png"))
                self.ends.set()

        async def receive(self) -> Message | None:
            while not self._messages:
                if self.ends.is_set():
                    return None
                await asyncio.sleep(0)
            return self._messages.pop(0)

    async def start(_settings: Any) -> Brief:
        return Brief(ready)

    monkeypatch.setattr(WorkerProcess, "start", start)

    async def scenario(pool: Pool, meter: Meter) -> None:
        await until_ready(pool)
        outcomes = await asyncio.gather(*(pool.run(a_job(str(n))) for n in range(5)))

        assert [outcome.image for outcome in outcomes] == [b"png"] * 5
        assert counted(meter, "safelight_probe_failures_total", probe="diffusers") == 5

    with_pool(scenario)
