"""Sleep and wake, on real services: their workers end, and start again with the next request."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from structlog.testing import capture_logs

from safelight.errors import Cancelled, CannotSleep, NotReady
from safelight.metrics.catalog import (
    DEVICE_HELD_SECONDS,
    MODEL_ASLEEP,
    PROBE_TIMESTAMP,
    REJECTED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.registry import Meter
from safelight.serving.app import Service
from safelight.serving.engine.sleeper import Sleeper
from safelight.serving.http.keys import hashed
from safelight.settings import load
from tests.reading import FakeClock, series, value
from tests.serving.conftest import serving
from tests.serving.jobs import a_job
from tests.serving.running import client, edit, engine, eventually

SLEEP, WAKE = "/v1/model/sleep", "/v1/model/wake"


@asynccontextmanager
async def asleep(**settings: Any) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """Start a service whose model sleeps."""
    async with engine(**settings) as service, client(service) as speaking:
        assert (await speaking.post(SLEEP)).json() == {"status": "asleep"}
        yield service, speaking


async def status(speaking: httpx.AsyncClient) -> tuple[int, str]:
    """Return what /readyz says."""
    answer = await speaking.get("/readyz")
    body = answer.json()
    return answer.status_code, body["status"] if answer.is_success else body["reason"]


# ── Falling asleep and waking ────────────────────────────────────────────────────────────────────


async def test_the_worker_ends_and_the_first_request_starts_a_new_one() -> None:
    async with engine(isolation="process") as service, client(service) as speaking:
        (pid,) = service.pool.pids
        with capture_logs() as lines:
            await speaking.post(SLEEP)
            assert not psutil.pid_exists(pid)
            assert service.pool.pids == []
            assert await status(speaking) == (200, "asleep")
            assert (value(service.meter, MODEL_ASLEEP), value(service.meter, WORKERS_READY)) == (
                1,
                0,
            )

            assert (await edit(speaking)).status_code == 200
        assert await status(speaking) == (200, "ready")
        assert (value(service.meter, MODEL_ASLEEP), value(service.meter, WORKERS_READY)) == (0, 1)
        assert service.pool.pids not in ([], [pid])
        events = [line["event"] for line in lines]
        assert events.count("model asleep") == events.count("model awake") == 1
        assert "worker lost" not in events
        assert value(service.meter, WORKER_RESTARTS) == 0


async def test_a_thread_sleeps_and_wakes_too() -> None:
    async with asleep() as (service, speaking):
        assert not service.pool.ready
        assert (await speaking.post(WAKE)).json() == {"status": "ready"}
        assert (await edit(speaking)).status_code == 200


async def test_many_requests_at_once_wake_the_model_once() -> None:
    async with asleep(isolation="process") as (_, speaking):
        with capture_logs() as lines:
            answers = await asyncio.gather(*(edit(speaking, seed=n) for n in range(12)))
        assert {answer.status_code for answer in answers} == {200}
        assert [line["event"] for line in lines].count("model loaded") == 1


async def test_all_workers_sleep_and_all_wake() -> None:
    async with asleep(isolation="process", devices="cpu,cpu") as (service, speaking):
        assert service.pool.pids == []
        assert (await edit(speaking)).status_code == 200
        await eventually(lambda: service.pool.ready_count() == 2)


async def test_it_sleeps_and_wakes_again_and_again() -> None:
    async with engine() as service, client(service) as speaking:
        for _ in range(5):
            assert (await speaking.post(SLEEP)).status_code == 200
            assert (await edit(speaking)).status_code == 200
        assert value(service.meter, WORKER_RESTARTS) == 0


async def test_sleep_twice_and_wake_twice_change_nothing() -> None:
    async with asleep() as (service, speaking):
        assert (await speaking.post(SLEEP)).json() == {"status": "asleep"}
        assert service.sleeper.state == "asleep"
        answers = await asyncio.gather(speaking.post(WAKE), speaking.post(WAKE))
        assert [answer.json() for answer in answers] == [{"status": "ready"}] * 2
        assert (await speaking.post(WAKE)).json() == {"status": "ready"}


async def test_a_sleeping_service_has_no_old_readings_and_holds_no_device() -> None:
    async with asleep() as (service, _):
        assert series(service.meter, PROBE_TIMESTAMP, probe="torch") == []
        held = value(service.meter, DEVICE_HELD_SECONDS)
        await asyncio.sleep(0)
        assert value(service.meter, DEVICE_HELD_SECONDS) == held
        await service.sleeper.wake(60)
        assert value(service.meter, DEVICE_HELD_SECONDS) > held


# ── When it does not sleep ───────────────────────────────────────────────────────────────────────


async def test_a_model_with_requests_does_not_sleep() -> None:
    async with engine() as service, client(service) as speaking:
        running = asyncio.create_task(edit(speaking, "slowly", steps=20))
        await eventually(lambda: service.engine.in_progress == 1)
        refused = await speaking.post(SLEEP)
        assert (refused.status_code, refused.json()["reason"]) == (409, "cannot_sleep")
        assert refused.json()["detail"].startswith("1 requests wait or run.")
        assert (await running).status_code == 200


async def test_a_model_that_loads_does_not_sleep() -> None:
    async with asleep(isolation="process") as (service, speaking):
        waking = asyncio.create_task(speaking.post(WAKE))
        await eventually(lambda: service.sleeper.state == "waking")
        refused = await speaking.post(SLEEP)
        assert (refused.status_code, refused.json()["reason"]) == (409, "cannot_sleep")
        assert "being loaded" in refused.json()["detail"]
        assert await status(speaking) == (200, "waking")
        assert (await waking).status_code == 200


def test_a_service_that_starts_neither_sleeps_nor_wakes() -> None:
    async def scenario() -> None:
        service = Service(load(model="tests.serving.models:painter", isolation="process"))
        async with service._lifespan():
            with pytest.raises(CannotSleep, match="being loaded"):
                await service.sleeper.sleep()
            with pytest.raises(NotReady, match="still loading"):
                await service.sleeper.wake(60)
            await eventually(lambda: service.pool.ready)

    asyncio.run(scenario())


async def test_a_request_that_comes_while_it_falls_asleep_wakes_it() -> None:
    async with engine(isolation="process") as service, client(service) as speaking:
        falling = asyncio.create_task(service.sleeper.sleep())
        await asyncio.sleep(0)
        assert service.sleeper.state == "asleep"
        assert not falling.done()
        assert (await edit(speaking)).status_code == 200
        await falling
        assert await status(speaking) == (200, "ready")
        assert value(service.meter, MODEL_ASLEEP) == 0


# ── A bounded wait ───────────────────────────────────────────────────────────────────────────────


async def test_a_request_waits_at_most_until_its_deadline() -> None:
    async with asleep(isolation="process") as (service, speaking):
        answer = await edit(speaking, headers={"x-request-timeout": "0.01"})
        assert (answer.status_code, answer.json()["reason"]) == (503, "not_ready")
        assert "loading now" in answer.json()["detail"]
        assert float(answer.headers["retry-after"]) > 0
        assert value(service.meter, REJECTED, reason="not_ready") == 1
        await eventually(lambda: service.sleeper.state == "awake")
        assert not service.sleeper.waiting
        assert (await edit(speaking)).status_code == 200


async def test_no_more_requests_wait_for_the_model_than_for_the_queue() -> None:
    async with asleep(isolation="process", queue_limit=2) as (service, speaking):
        answers = await asyncio.gather(*(edit(speaking, seed=n) for n in range(5)))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(refused) >= 3
        assert {answer.json()["reason"] for answer in refused} == {"overloaded"}
        assert value(service.meter, REJECTED, reason="queue_full") >= 3


async def test_a_request_that_is_cancelled_stops_waiting_and_the_model_wakes_all_the_same() -> None:
    async with asleep(isolation="process") as (service, _):
        job = a_job("leaves", deadline=asyncio.get_running_loop().time() + 60)
        waits = asyncio.ensure_future(service.front._handle(job))
        await eventually(lambda: len(service.sleeper.waiting) == 1)
        job.control.stop(Cancelled())
        with pytest.raises(Cancelled):
            await waits
        assert (service.sleeper.active, service.sleeper.waiting) == (0, set())
        await eventually(lambda: service.sleeper.state == "awake")


# ── When things go wrong ─────────────────────────────────────────────────────────────────────────


async def test_a_worker_that_dies_at_wake_is_replaced_and_the_request_is_served() -> None:
    async with asleep(isolation="process") as (service, speaking):
        first = asyncio.create_task(edit(speaking))
        await eventually(lambda: bool(service.pool.pids))
        os.kill(service.pool.pids[0], signal.SIGKILL)
        assert (await first).status_code == 200
        assert value(service.meter, WORKER_RESTARTS) == 1


def _broken(service: Service) -> None:
    """Make the next load fail, as if the model's file were gone."""
    for worker in service.pool.workers:
        worker._settings = load(model="tests.serving.models:nobody", isolation="process")


async def test_a_model_that_cannot_be_loaded_again_sleeps_on_and_the_service_lives() -> None:
    async with asleep(isolation="process") as (service, speaking):
        whole = service.pool.workers[0]._settings
        _broken(service)
        with capture_logs() as lines:
            failed = await edit(speaking)
        assert (failed.status_code, failed.json()["reason"]) == (503, "not_ready")
        assert "nobody" not in failed.json()["detail"]  # what failed is the operator's
        assert "model not awake" in [line["event"] for line in lines]
        assert (service.failure, service.sleeper.state) == (None, "asleep")
        assert value(service.meter, MODEL_ASLEEP) == 1

        at_once = await edit(speaking)  # no second load
        assert at_once.status_code == 503
        assert await status(speaking) == (503, "not_ready")
        operator = await speaking.post(WAKE)
        assert operator.status_code == 503
        assert "nobody" in operator.json()["detail"]

        service.pool.workers[0]._settings = whole
        assert (await speaking.post(WAKE)).json() == {"status": "ready"}
        assert (await edit(speaking)).status_code == 200


@pytest.mark.parametrize("state", ["asleep", "falling", "waking"])
def test_a_service_stops_whatever_its_model_does(state: str) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), engine(isolation="process") as service:
            falling = asyncio.create_task(service.sleeper.sleep())
            await eventually(lambda: service.sleeper.state == "asleep")
            if state != "falling":
                await falling
            if state == "waking":
                service.sleeper.join()
                await eventually(lambda: bool(service.pool.pids))
        assert service.pool.pids == []
        assert service.failure is None

    asyncio.run(scenario())


def test_a_whole_service_with_a_real_model_stops_in_order_while_it_sleeps(tmp_path: Path) -> None:
    with serving(tmp_path, "demo-edit") as service:
        before = service.value("instructpix2pix_model_load_seconds")
        children = psutil.Process(service.pid).children(recursive=True)
        assert service.client.post(SLEEP).json() == {"status": "asleep"}
        left = psutil.Process(service.pid).children(recursive=True)
        assert len(left) == len(children) - 1
        assert service.edit().status_code == 200
        assert service.value("instructpix2pix_model_load_seconds") != before
        assert service.client.post(SLEEP).json() == {"status": "asleep"}
    # `serving` checks that it ended with code 0


# ── By itself, and who may ───────────────────────────────────────────────────────────────────────


class Ready:
    """Workers that are ready, and end at once."""

    ready = True

    def __init__(self) -> None:
        self.loaded = asyncio.Event()
        self.stops = 0

    async def stop(self) -> None:
        self.stops += 1


def test_it_sleeps_after_so_long_without_a_request_and_not_before() -> None:
    async def scenario() -> None:
        clock, workers = FakeClock(), Ready()
        sleeper = Sleeper(
            workers,
            Meter("tests"),
            start=lambda: asyncio.create_task(workers.stop()),
            after_seconds=60,
            clock=clock,
        )
        for clock.now in (30.0, 59.0):
            sleeper.tick()
        sleeper.active += 1  # a request that takes two minutes
        for clock.now in (100.0, 179.0):
            sleeper.tick()
        clock.now = 180.0
        sleeper.left()
        clock.now = 239.0
        sleeper.tick()
        assert sleeper.standing() == {}

        clock.now = 240.0
        sleeper.tick()
        sleeper.tick()
        assert sleeper.standing() == {"status": "asleep"}
        await sleeper.sleep()
        assert workers.stops == 1

    asyncio.run(scenario())


async def test_it_falls_asleep_by_itself_and_wakes_with_the_next_request() -> None:
    async with engine(sleep_after_seconds=0.2) as service, client(service) as speaking:
        assert (await edit(speaking)).status_code == 200
        await eventually(lambda: service.sleeper.state == "asleep", 10)
        assert (await edit(speaking)).status_code == 200


async def test_only_an_operator_may() -> None:
    keys = f"anna:infer={hashed('a' * 40)},ops:operate={hashed('o' * 40)}"
    async with engine(api_keys=keys) as service, client(service) as speaking:
        for path in (SLEEP, WAKE):
            assert (await speaking.post(path)).status_code == 401
            infer = {"authorization": f"Bearer {'a' * 40}"}
            assert (await speaking.post(path, headers=infer)).status_code == 403
        assert service.sleeper.state == "awake"
        operate = {"authorization": f"Bearer {'o' * 40}"}
        assert (await speaking.post(SLEEP, headers=operate)).status_code == 200


def test_the_engine_itself_runs_nothing_while_it_sleeps() -> None:
    async def scenario() -> None:
        async with asleep() as (service, _):
            with pytest.raises(NotReady):
                await service.engine(a_job())

    asyncio.run(scenario())
