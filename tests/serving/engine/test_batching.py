"""The engine from its handler on: batches, memory, cancelling, lost workers (here in threads)."""

import asyncio
from typing import Any

import pytest

from safelight.errors import (
    Cancelled,
    InvalidOutput,
    ModelError,
    NotReady,
    OutOfMemory,
    SafelightError,
    Timeout,
    WorkerLost,
)
from safelight.metrics.catalog import (
    BATCH_LIMIT,
    BATCH_SIZE,
    DEVICE_SECONDS,
    OUTPUT_INVALID,
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    QUEUED_WORK,
    WORKER_RESTARTS,
)
from safelight.serving.app import Service
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.pool import Pool
from safelight.serving.job import Job, Outcome
from safelight.settings import load
from tests.reading import value
from tests.serving.jobs import a_job
from tests.serving.running import engine, eventually


async def gather(service: Service, *jobs: Any) -> list[Outcome | BaseException]:
    return await asyncio.gather(*map(service.engine, jobs), return_exceptions=True)


async def held(service: Service, steps: int = 15) -> "asyncio.Task[Outcome]":
    """Keep the model busy, so that what comes next waits."""
    task = asyncio.create_task(service.engine(a_job("held", instruction="slowly", steps=steps)))
    worker = service.pool.workers[0]
    await eventually(lambda: any(entry.started for entry in worker.outstanding.values()))
    return task


def taught(service: Service, job: Job) -> None:
    """Have the engine know that batches of 8 pay: this model's take too short to tell."""
    for n in (1, 2, 4, 8) * 5:
        service.engine.curves.learn(job.key, n, 0.01 + n * 1e-4, job.units)


async def at_rest(service: Service) -> None:
    """No gauge has drifted."""
    assert (service.engine.waiting, service.engine.in_progress) == (0, 0)
    assert value(service.meter, QUEUE_DEPTH) == 0
    await eventually(lambda: value(service.meter, QUEUED_WORK) == 0, 1)


async def test_jobs_that_wait_are_made_in_one_batch_and_each_gets_its_own_image() -> None:
    async with engine() as service:
        taught(service, a_job())
        busy = await held(service)
        jobs = [a_job(str(n)) for n in range(4)]
        outcomes = await gather(service, *jobs)
        await busy

        assert all(isinstance(outcome, Outcome) for outcome in outcomes)
        alone = value(service.meter, BATCH_SIZE, "_bucket", le="1.0")
        assert value(service.meter, BATCH_SIZE, "_count") > alone
        assert value(service.meter, BATCH_LIMIT) >= 1
        await at_rest(service)


async def test_one_size_never_blocks_another() -> None:
    async with engine(batch_limit=2) as service:
        busy = await held(service)
        order: list[str] = []

        async def serve(job: Any) -> None:
            await service.engine(job)
            order.append(job.id)

        large = [a_job(f"large-{n}", size=(128, 128), deadline=1e9) for n in range(6)]
        small = a_job("small", size=(64, 64), deadline=5e8)  # more urgent
        await asyncio.gather(*map(serve, large), serve(small))
        await busy
        assert order.index("small") < 3
        await at_rest(service)


async def test_the_urgent_go_first() -> None:
    async with engine(batch_limit=1) as service:
        busy = await held(service)
        order: list[str] = []

        async def serve(job: Any) -> None:
            await service.engine(job)
            order.append(job.priority)

        jobs = [a_job(f"{rank}-{n}", priority=rank) for n in range(2) for rank in ("low", "high")]
        await asyncio.gather(*map(serve, jobs))
        await busy
        places = {rank: [n for n, each in enumerate(order) if each == rank] for rank in order}
        assert sum(places["high"]) < sum(places["low"])  # two results may arrive in either order


async def test_the_age_of_the_oldest_waiting_job_is_shown_until_none_waits() -> None:
    async with engine(batch_limit=1) as service:
        assert value(service.meter, QUEUE_OLDEST) == 0
        now = asyncio.get_running_loop().time
        busy = await held(service, steps=40)
        began = now()
        running = asyncio.create_task(gather(service, a_job("first"), a_job("second")))
        await eventually(lambda: service.engine.waiting == 2)
        await eventually(lambda: now() - began > 0.2)
        service.engine.update_metrics()  # the service does it once a second
        assert 0.19 < value(service.meter, QUEUE_OLDEST) <= now() - began + 0.01
        await busy
        await running
        assert value(service.meter, QUEUE_OLDEST) == 0


async def test_only_the_first_job_of_an_unknown_kind_is_admitted_without_an_estimate() -> None:
    async with engine(batch_limit=1) as service:
        service.engine.curves.learn("tiny", 1, 0.1, 1.0)  # makes each pixel look expensive
        busy = await held(service)
        first, second = (a_job(f"large-{n}", size=(256, 256)) for n in range(2))
        estimate = service.engine.curves.seconds(first.key, 1, first.units, 1)
        assert service.engine.predicted_seconds(first, 9) < estimate

        running = asyncio.create_task(gather(service, first))
        await eventually(lambda: service.engine.in_progress == 2)
        assert service.engine.predicted_seconds(second, 9) > 1.5 * estimate
        await busy
        await running
        assert service.engine.predicted_seconds(second, 9) < estimate / 10
        await at_rest(service)


async def test_jobs_of_several_turns_are_expected_to_share_batches() -> None:
    async with engine(batch_limit=8) as service:
        taught(service, a_job())
        busy = await held(service)
        before = service.engine.predicted_seconds(a_job("next"), 99)
        jobs = [a_job(str(n)) for n in range(3)]
        for turn, job in enumerate(jobs):
            job.control.turn = turn
        running = asyncio.create_task(gather(service, *jobs))
        await eventually(lambda: service.engine.in_progress == 4)

        behind = service.engine.predicted_seconds(a_job("next"), 99)
        assert behind - before < 0.005  # not 0.01 more for each of them
        await running
        await busy


async def test_a_job_that_is_late_because_others_overtook_it_makes_admission_careful() -> None:
    async with engine(batch_limit=1) as service:
        busy = await held(service)
        low = a_job("low", priority="low")
        waiting = asyncio.create_task(gather(service, low))
        await eventually(lambda: service.engine.in_progress == 2)
        cautious = service.engine.caution(low)
        high = asyncio.create_task(gather(service, a_job("high", priority="high")))
        await eventually(lambda: service.engine.in_progress == 3)

        low.control.stop(Timeout(1))
        assert service.engine.caution(low) > cautious + 0.2
        await asyncio.gather(waiting, high, busy)


async def test_admission_forgets_a_delay_that_no_job_shows_any_more() -> None:
    """It refuses what would show that the factor is too high by now."""
    async with engine() as service:
        job = a_job()
        for _ in range(20):
            service.engine._delay(3.0)
        assert service.engine.caution(job) > 2.9

        service.engine._delay_at -= 120  # two minutes pass
        assert service.engine.caution(job) < 2.01
        service.engine._delay_at -= 600
        assert service.engine.caution(job) < 1.05


async def test_a_low_job_ages_in_the_engine_too() -> None:
    async with engine(batch_limit=1) as service:
        busy = await held(service)
        now = asyncio.get_running_loop().time()
        low = a_job("low", priority="low", deadline=now + 50, steps=15)
        high = [a_job(str(n), priority="high", deadline=now + 60, steps=15) for n in range(5)]
        running = asyncio.create_task(gather(service, high[0], low, *high[1:]))
        await eventually(lambda: len(service.engine._backlog) == 5)  # the worker has the first
        assert max(service.engine._backlog).job is low

        max(service.engine._backlog).arrived_at = now - 100
        service.engine.update_metrics()
        assert min(service.engine._backlog).job is low
        await asyncio.gather(running, busy)
        await at_rest(service)


async def test_a_batch_that_does_not_fit_is_split_and_the_cap_stays_low() -> None:
    async with engine() as service:
        taught(service, a_job())
        busy = await held(service)
        jobs = [a_job(str(n), instruction="fits 2") for n in range(6)]
        outcomes = await gather(service, *jobs)
        await busy

        assert all(isinstance(outcome, Outcome) for outcome in outcomes)
        assert value(service.meter, BATCH_SIZE, "_count", stop_reason="memory") >= 2
        assert service.engine.curves.of(jobs[0].key).cap(32) <= 2
        assert value(service.meter, DEVICE_SECONDS, use="retry") > 0
        await at_rest(service)


async def test_a_job_that_does_not_fit_alone_fails_with_the_size_that_fits() -> None:
    async with engine() as service:
        await service.engine(a_job("small", size=(64, 64)))
        with pytest.raises(OutOfMemory, match="128 x 128 did not fit alone; 64 x 64 has fitted"):
            await service.engine(a_job("big", instruction="fits 0", size=(128, 128)))
        assert isinstance(await service.engine(a_job("next")), Outcome)
        await at_rest(service)


@pytest.mark.parametrize("stop", [Cancelled(), Timeout(1)])
async def test_a_job_stopped_in_mid_work_frees_the_device_at_the_next_step(
    stop: SafelightError,
) -> None:
    async with engine() as service:
        job = a_job("long", instruction="slowly", steps=100)
        task = asyncio.create_task(service.engine(job))
        worker = service.pool.workers[0]
        await eventually(lambda: any(t.started for t in worker.outstanding.values()))
        started = asyncio.get_running_loop().time()
        job.control.stop(stop)
        with pytest.raises(type(stop)):
            await task
        await service.engine(a_job("next"))
        took = asyncio.get_running_loop().time() - started
        assert took < 1.0  # a hundred steps of 20 ms are two seconds
        use = "deadline" if isinstance(stop, Timeout) else "cancelled"
        assert value(service.meter, DEVICE_SECONDS, use=use) > 0
        await at_rest(service)


async def test_a_job_stopped_while_it_waits_costs_the_device_nothing() -> None:
    async with engine() as service:
        busy = await held(service)
        jobs = [a_job(str(n), instruction="slowly", steps=50) for n in range(3)]
        tasks = [asyncio.create_task(service.engine(job)) for job in jobs]
        await asyncio.sleep(0)
        for job in jobs:
            job.control.stop(Cancelled())
        assert all(
            isinstance(ended, Cancelled)
            for ended in await asyncio.gather(*tasks, return_exceptions=True)
        )
        await busy
        await eventually(lambda: service.engine.in_progress == 0)
        assert value(service.meter, DEVICE_SECONDS, use="cancelled") == 0
        await at_rest(service)


async def test_a_batch_goes_on_for_those_who_still_wait() -> None:
    async with engine() as service:
        taught(service, a_job(steps=20))
        busy = await held(service)
        leaves, stays = (a_job(name, instruction="slowly", steps=20) for name in ("a", "b"))
        tasks = [asyncio.create_task(service.engine(job)) for job in (leaves, stays)]
        await busy
        worker = service.pool.workers[0]
        await eventually(lambda: any(t.started for t in worker.outstanding.values()))
        leaves.control.stop(Cancelled())
        assert isinstance(await tasks[1], Outcome)
        with pytest.raises(Cancelled):
            await tasks[0]
        await eventually(lambda: service.engine.in_progress == 0)
        await at_rest(service)


async def test_a_caller_task_that_is_cancelled_withdraws_its_job() -> None:
    async with engine() as service:
        task = asyncio.create_task(service.engine(a_job("long", instruction="slowly", steps=100)))
        await eventually(lambda: service.engine.in_progress == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: service.engine.in_progress == 0, 1.5)
        await at_rest(service)


@pytest.mark.parametrize(
    ("instruction", "error", "use"),
    [
        ("raise", ModelError, "failed"),
        ("nan", InvalidOutput, "invalid"),
        ("black", InvalidOutput, "invalid"),
    ],
)
async def test_a_failure_has_its_kind_and_its_device_time_is_entered(
    instruction: str, error: type[SafelightError], use: str
) -> None:
    async with engine() as service:
        with pytest.raises(error) as failed:
            await service.engine(a_job(instruction=instruction))
        assert "secret" not in str(failed.value)
        assert value(service.meter, DEVICE_SECONDS, use=use) > 0
        if use == "invalid":
            assert value(service.meter, OUTPUT_INVALID) == 1
        assert isinstance(await service.engine(a_job("next")), Outcome)
        await at_rest(service)


async def test_a_poisoned_worker_is_replaced_and_the_jobs_it_did_not_begin_are_served() -> None:
    async with engine(batch_limit=1) as service:
        busy = await held(service)
        poison = asyncio.create_task(
            service.engine(a_job("poison", instruction="poison", priority="high"))
        )
        waits = asyncio.create_task(service.engine(a_job("waits", steps=3, priority="low")))
        await busy
        with pytest.raises(WorkerLost):
            await poison
        assert isinstance(await waits, Outcome)
        assert value(service.meter, WORKER_RESTARTS, reason="poisoned") == 1
        await at_rest(service)


async def test_a_worker_that_makes_no_progress_is_replaced() -> None:
    async with engine(hang_seconds=0.3) as service:
        with pytest.raises(WorkerLost):
            await service.engine(a_job("hangs", instruction="hang"))
        assert isinstance(await service.engine(a_job("next")), Outcome)
        assert value(service.meter, WORKER_RESTARTS, reason="hung") == 1
        await at_rest(service)


async def test_a_slow_model_that_makes_its_steps_is_left_alone() -> None:
    async with engine(hang_seconds=0.6) as service:
        outcome = await service.engine(a_job(instruction="slowly", steps=60))
        assert isinstance(outcome, Outcome)  # 1.2 s of work, a step every 20 ms
        assert value(service.meter, WORKER_RESTARTS) == 0


async def test_two_workers_share_the_work() -> None:
    async with engine(devices="cpu,cpu") as service:
        await eventually(lambda: service.pool.ready_count() == 2)
        jobs = [a_job(str(n), instruction="slowly", steps=20) for n in range(2)]
        tasks = [asyncio.create_task(service.engine(job)) for job in jobs]
        await eventually(lambda: service.engine.in_progress == 2)
        await eventually(lambda: all(worker.outstanding for worker in service.pool.workers), 0.3)
        await asyncio.gather(*tasks)
        await at_rest(service)


async def test_more_workers_than_cores_do_not_disturb_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("safelight.serving.engine.pool._cores", lambda: 2)
    async with engine(devices="cpu,cpu,cpu,cpu") as service:
        pool = service.pool
        await eventually(lambda: pool.ready_count() == 4)
        assert [worker.place.threads for worker in pool.workers] == [0] * 4
        jobs = [a_job(str(n), instruction="slowly", steps=20) for n in range(8)]
        tasks = [asyncio.create_task(service.engine(job)) for job in jobs]
        await eventually(lambda: bool(pool.workers[0].outstanding))
        assert [bool(worker.outstanding) for worker in pool.workers].count(True) == 1
        pool.workers[0].ready = False  # as when it is lost
        assert pool.usable() == [pool.workers[1]]
        pool.workers[0].ready = True
        await asyncio.gather(*tasks)
        await at_rest(service)


def test_without_a_model_nothing_is_taken() -> None:
    from safelight.metrics.registry import Meter

    async def scenario() -> None:
        meter = Meter("tests")
        batching = Batching(Pool(load(), meter), meter, limit=lambda: 8)
        with pytest.raises(NotReady):
            await batching(a_job())

    asyncio.run(scenario())


async def test_finished_jobs_take_no_room_at_a_worker() -> None:
    async with engine() as service:
        pool, run = service.pool, service.engine
        (worker,) = pool.workers
        sent: list[str] = []
        worker._connection = type(
            "Deaf",
            (),
            {
                "send": lambda _self, m: sent.extend(job.id for job in m.content.jobs),
                "pid": None,
                "kill": print,
            },
        )()
        tasks = [asyncio.create_task(run(a_job(f"made-{n}"))) for n in range(2)]
        await eventually(lambda: len(sent) == 2)
        for entry in worker.outstanding.values():
            entry.finished_at = 0.0
        other: dict[str, Any] = {"size": (128, 128)}
        tasks += [asyncio.create_task(run(a_job(f"other-{n}", **other))) for n in range(2)]
        await eventually(lambda: len(sent) == 4)
        # The head's key has its batch; one behind it has not, and gets one.
        tasks += [asyncio.create_task(run(a_job(f"late-{n}", **other))) for n in range(2)]
        tasks.append(asyncio.create_task(run(a_job("third", size=(96, 96)))))
        await eventually(lambda: "third" in sent)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        worker.outstanding.clear()
