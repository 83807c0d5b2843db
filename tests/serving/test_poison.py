"""A caller who sends only poisonous jobs: the others are served as if that caller did not exist."""

import asyncio
from typing import Any

from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.serving.http.keys import hashed
from tests.reading import value
from tests.serving.running import client, edit, engine, eventually

KEYS = f"ann={hashed('sl-ann')},mallory={hashed('sl-mallory')}"
ANN = {"authorization": "Bearer sl-ann"}
MALLORY = {"authorization": "Bearer sl-mallory"}
POISONOUS = 50


async def test_fifty_poisonous_jobs_of_one_caller_do_not_stop_the_others() -> None:
    async with engine(api_keys=KEYS, queue_limit=200) as service, client(service) as speaking:
        sent = [
            asyncio.create_task(edit(speaking, f"raise {number % 25}", headers=MALLORY))
            for number in range(POISONOUS)
        ]
        served: list[Any] = []
        while not all(task.done() for task in sent) or len(served) < POISONOUS // 2:
            served += await asyncio.gather(
                *(edit(speaking, f"make him {n}", headers=ANN) for n in range(5))
            )
        poisoned = await asyncio.gather(*sent)

        assert [a.text for a in served if a.status_code != 200] == []
        assert [answer.json()["reason"] for answer in poisoned] == ["model_error"] * POISONOUS
        assert value(service.meter, CIRCUIT_OPEN) == 0
        assert value(service.meter, REJECTED, reason="circuit_open") == 0


async def test_poisonous_jobs_in_a_row_before_anyone_is_served_do_not_stop_the_others() -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        for _ in range(20):
            assert (await edit(speaking, "raise", headers=MALLORY)).status_code == 500
        assert (await edit(speaking, headers=ANN)).status_code == 200


async def test_a_broken_model_is_still_left_alone_for_a_single_caller() -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        answers = [await edit(speaking, f"raise {n}", headers=ANN) for n in range(8)]
        assert [answer.status_code for answer in answers] == [500] * 5 + [503] * 3
        assert {answer.json()["reason"] for answer in answers[5:]} == {"circuit_open"}


async def test_jobs_that_end_the_worker_do_not_fail_the_jobs_that_wait_behind_them() -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        await edit(speaking, headers=ANN)  # a batch needs a known cost
        busy = asyncio.create_task(edit(speaking, "slowly", steps=30, headers=ANN))
        await eventually(lambda: service.engine.in_progress == 1)
        deadly = [
            asyncio.create_task(
                edit(speaking, "poison", headers={**MALLORY, "x-priority": "high"}, steps=steps)
            )
            for steps in (2, 3)
        ]
        await eventually(lambda: service.engine.in_progress == 3)
        waiting = [edit(speaking, f"make him {n}", headers=ANN, steps=2 + n % 2) for n in range(6)]
        served = await asyncio.gather(busy, *waiting)

        assert [answer.status_code for answer in served] == [200] * 7
        assert [(await each).json()["reason"] for each in deadly] == ["worker_lost"] * 2
        assert value(service.meter, CIRCUIT_OPEN) == 0
