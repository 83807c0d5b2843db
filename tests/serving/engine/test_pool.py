"""Workers as real processes: what becomes of them and of their jobs when things go wrong."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from safelight.errors import ModelNotFound, Unusable, WorkerLost
from safelight.metrics.catalog import (
    ASSESSMENTS,
    MODEL_INFO,
    MODEL_LOAD_SECONDS,
    PROBE_FAILURES,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.registry import Meter
from safelight.models.backend import ModelInfo, ModelOrder
from safelight.serving.app import Service
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.events import OutputAssessed, ProbesFailed
from safelight.serving.engine.pool import Pool
from safelight.serving.job import Outcome
from safelight.serving.wire.process import WorkerProcess
from safelight.serving.wire.protocol import Message
from safelight.serving.wire.schema import (
    ImageResult,
    Load,
    MemoryReport,
    OutputLimits,
    Poisoned,
    Ready,
    Results,
    SamplingPlan,
)
from safelight.settings import load
from safelight.telemetry.vram import Vram
from tests.reading import series, value
from tests.serving.jobs import a_job
from tests.serving.running import engine, eventually

INFO = {"model": "m", "pipeline": "P", "scheduler": "S", "precision": "float16", "device": "cuda:0"}
LOADED = Message(Ready(ModelInfo("m", "P", "S", "float16", "cuda:0"), "edit", 2.5))


async def started(service: Service) -> None:
    await eventually(
        lambda: any(
            t.started for worker in service.pool.workers for t in worker.outstanding.values()
        )
    )


async def test_p3_a_killed_worker_is_replaced_and_only_the_job_it_had_is_lost() -> None:
    async with engine(isolation="process") as service:
        (first,) = service.pool.pids
        struck = asyncio.create_task(
            service.engine(a_job("struck", instruction="slowly", steps=500))
        )
        await started(service)
        waits = asyncio.create_task(service.engine(a_job("waits", size=(128, 128))))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await struck
        assert value(service.meter, WORKERS_READY) == 0
        assert (await waits).size == (128, 128)  # by the worker's successor
        assert service.pool.pids != [first]
        assert value(service.meter, WORKER_RESTARTS, reason="died") == 1


async def test_a_frozen_worker_is_ended_and_its_job_served_by_the_next() -> None:
    async with engine(isolation="process", hang_seconds=0.5) as service:
        (frozen,) = service.pool.pids
        os.kill(frozen, signal.SIGSTOP)
        assert isinstance(await service.engine(a_job("not begun")), Outcome)
        assert value(service.meter, WORKER_RESTARTS, reason="hung") == 1
        assert service.pool.pids != [frozen]


async def test_a_worker_frozen_at_work_loses_its_job() -> None:
    async with engine(isolation="process", hang_seconds=0.5) as service:
        task = asyncio.create_task(service.engine(a_job("begun", instruction="slowly", steps=500)))
        await started(service)
        os.kill(service.pool.pids[0], signal.SIGSTOP)
        with pytest.raises(WorkerLost):
            await task
        assert isinstance(await service.engine(a_job("next")), Outcome)


async def test_the_other_workers_requests_are_not_delayed_by_a_restart() -> None:
    async with engine(isolation="process", devices="cpu,cpu") as service:
        await eventually(lambda: service.pool.ready_count() == 2)
        loop = asyncio.get_running_loop()
        os.kill(service.pool.pids[0], signal.SIGKILL)
        await eventually(lambda: service.pool.ready_count() == 1)
        began = loop.time()
        for number in range(10):
            await service.engine(a_job(str(number)))
        assert loop.time() - began < 0.5
        await eventually(lambda: service.pool.ready_count() == 2)


def test_a_model_that_cannot_be_loaded_ends_the_pool_with_the_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        pool = Pool(load(model=str(tmp_path)), Meter("tests"))
        try:
            with pytest.raises(Unusable, match=r"neither a model_index\.json") as failed:
                await pool.start()
            assert failed.value.exit_code == ModelNotFound.exit_code
        finally:
            await pool.stop()

    asyncio.run(scenario())


def test_a_factory_that_does_not_exist_is_named() -> None:
    async def scenario() -> None:
        pool = Pool(load(model="tests.serving.models:nobody", isolation="thread"), Meter("tests"))
        try:
            with pytest.raises(Unusable, match="nobody"):
                await pool.start()
        finally:
            await pool.stop()

    asyncio.run(scenario())


class Scripted:
    """A worker that says what it was given, and what `on_send` answers."""

    pid: int | None = 1

    def __init__(self, hear: Callable[[Message | None], None]) -> None:
        self.hear = hear
        self.ended = False

    def send(self, message: Message) -> None:
        return None

    def kill(self) -> None:
        self.hear(None)

    async def stop(self) -> None:
        self.ended = True


def script(monkeypatch: pytest.MonkeyPatch, *messages: Message | None) -> list[Scripted]:
    """Have every worker say these messages as it starts; return the workers there were."""
    workers: list[Scripted] = []

    async def start(_order: Any, hear: Callable[[Message | None], None], _threads: int) -> Scripted:
        worker = Scripted(hear)
        workers.append(worker)
        for message in messages:
            asyncio.get_running_loop().call_soon(hear, message)
        return worker

    monkeypatch.setattr(WorkerProcess, "start", start)
    return workers


def with_pool(scenario: Callable[[Pool, Meter], Awaitable[None]], **settings: Any) -> None:
    async def running() -> None:
        meter = Meter("tests")
        pool = Pool(load(**settings), meter)
        pool.start(Batching(pool, meter, limit=lambda: 8).receive)
        try:
            await scenario(pool, meter)
        finally:
            await pool.stop()
        assert pool.pids == []

    asyncio.run(asyncio.wait_for(running(), 30))


def test_a_worker_that_never_loads_is_given_up_after_increasing_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = script(monkeypatch, None)
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    async def scenario() -> None:
        pool = Pool(load(restart_limit=4), meter := Meter("tests"), sleep=sleep)
        with pytest.raises(Unusable, match="5 times in a row"):
            await pool.start()
        assert value(meter, WORKER_RESTARTS, reason="load_failed") == 5

    asyncio.run(scenario())
    assert rests == [1.0, 2.0, 4.0, 8.0]
    assert all(worker.ended for worker in workers)


def test_a_worker_that_never_loads_ends_no_service_that_another_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def start(order: Any, hear: Callable[[Message | None], None], _threads: int) -> Scripted:
        healthy = order.model.device == "cpu"
        asyncio.get_running_loop().call_soon(hear, LOADED if healthy else None)
        return Scripted(hear)

    monkeypatch.setattr(WorkerProcess, "start", start)
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        await asyncio.sleep(0)

    async def scenario() -> None:
        pool = Pool(
            load(devices="cpu,cuda:1", restart_limit=2), meter := Meter("tests"), sleep=sleep
        )
        keeper = pool.start()
        await eventually(lambda: len(rests) > 20)
        assert not keeper.done()
        assert value(meter, WORKERS_READY) == 1
        assert max(rests) == 30
        await pool.stop()
        assert value(meter, WORKER_RESTARTS, reason="died") == 0

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_a_worker_that_dies_young_again_and_again_rests_ever_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script(monkeypatch, LOADED, None)
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 7:
            raise asyncio.CancelledError

    async def scenario() -> None:
        with pytest.raises(asyncio.CancelledError):
            await Pool(load(restart_limit=1), Meter("tests"), sleep=sleep).start()

    asyncio.run(scenario())
    assert rests == [0.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_worker_that_leaks_young_again_and_again_rests_although_it_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = ImageResult("gone", 0.0, [], None, None, (64, 64), truncated=False, corrupted=False)
    answer = Message(Results([served]), [b"png"])
    script(monkeypatch, LOADED, answer, Message(Poisoned("memory")))
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 7:
            raise asyncio.CancelledError

    async def scenario() -> None:
        pool = Pool(load(), meter := Meter("tests"), sleep=sleep)
        with pytest.raises(asyncio.CancelledError):
            await pool.start()
        assert value(meter, WORKER_RESTARTS, reason="memory") == 7

    asyncio.run(scenario())
    assert rests == [0.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_p6_the_memory_of_a_worker_is_exposed_until_the_worker_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = Vram("cuda:0", used_bytes=3, reserved_bytes=5, peak_bytes=4, total_bytes=10)
    workers = script(monkeypatch, LOADED, Message(MemoryReport([reading])))

    async def scenario(pool: Pool, meter: Meter) -> None:
        await eventually(lambda: pool.vram_ratio > 0)
        assert pool.vram_ratio == 0.5
        assert value(meter, VRAM_USED, device="cuda:0") == 3
        assert value(meter, VRAM_RESERVED, device="cuda:0") == 5
        assert value(meter, VRAM_PEAK, device="cuda:0") == 4
        assert value(meter, MODEL_LOAD_SECONDS) == 2.5
        assert series(meter, MODEL_INFO) == [{**INFO, "adapters": "none"}]

        monkeypatch.setattr(WorkerProcess, "start", never)
        workers[0].hear(None)
        await eventually(lambda: not pool.ready)
        await eventually(lambda: not series(meter, VRAM_USED), 1)
        assert pool.vram_ratio == 0

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    with_pool(scenario)


def test_a_probe_that_failed_in_a_worker_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, LOADED, Message(Results([], probe_failures=["diffusers"])))

    async def scenario(pool: Pool, meter: Meter) -> None:
        await eventually(lambda: value(meter, PROBE_FAILURES, probe="diffusers") == 1, 1)

    with_pool(scenario)


async def test_an_unexpected_message_ends_the_worker_but_not_the_service() -> None:
    async with engine(isolation="process") as service:
        worker = service.pool.workers[0]
        plan = SamplingPlan(0.0, False, "")
        load_order = Load(ModelOrder("m"), 5.0, 10**6, OutputLimits(8, 1.0, 0.25), plan)
        assert worker._connection is not None
        worker._connection.send(Message(load_order))  # a busy worker does not expect it
        await eventually(lambda: value(service.meter, WORKER_RESTARTS, reason="died") == 1)
        assert isinstance(await service.engine(a_job("next")), Outcome)


def test_looks_that_gave_way_or_failed_are_counted() -> None:
    pool = Pool(load(), meter := Meter("tests"))
    pool.receive(ProbesFailed([], dropped_assessments=3))
    pool.receive(OutputAssessed(None))
    assert value(meter, ASSESSMENTS, outcome="dropped") == 3
    assert value(meter, ASSESSMENTS, outcome="failed") == 1
