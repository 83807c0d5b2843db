"""Callers take turns, and a caller who is alone has its jobs in order of priority and deadline."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.app import Service
from safelight.serving.job import Job
from safelight.serving.policies.fairness import FIRST_JOBS, Turns
from tests.serving.jobs import a_job
from tests.serving.running import client, edit, engine

FLOOD = 200


def begin(turns: Turns, owner: str, **more: Any) -> tuple[Job, int]:
    job = a_job(owner=owner, **more)
    return job, turns.begin(job)


def serve(turns: Turns, job: Job, start: int) -> None:
    job.exchange.queued = True
    turns.end(job, start)


def test_the_jobs_of_a_caller_who_is_alone_have_their_priorities() -> None:
    turns = Turns()
    begun = [begin(turns, "one") for _ in range(FLOOD)]
    urgent, _ = last = begin(turns, "one", priority="high")
    assert {job.rank for job, _ in begun[FIRST_JOBS:]} == {urgent.rank + 1}
    begun.append(last)
    for each in begun:
        serve(turns, *each)
    assert not turns._jobs


def test_a_new_caller_comes_before_most_of_what_a_flood_sends_after_it() -> None:
    turns = Turns()
    begin(turns, "modest")
    flood = [begin(turns, "greedy", priority="high")[0] for _ in range(FLOOD)]
    newcomer, _ = begin(turns, "third", priority="low")

    ahead = [job for job in flood if job.rank < newcomer.rank]

    assert len(ahead) <= 1
    assert newcomer.callers == 3
    assert flood[-1].own == FLOOD


def test_a_new_caller_waits_for_few_jobs_of_one_who_was_alone() -> None:
    turns = Turns()
    flood = [begin(turns, "greedy", priority="high")[0] for _ in range(FLOOD)]
    newcomer, _ = begin(turns, "modest", priority="low")
    assert sum(job.rank < newcomer.rank for job in flood) == FIRST_JOBS


def test_a_flood_that_is_served_and_comes_back_at_once_starves_nobody() -> None:
    turns = Turns()
    waiting = [begin(turns, "greedy", priority="high") for _ in range(50)]
    modest = begin(turns, "modest", priority="low")
    served_before = 0
    while True:
        job, start = min([*waiting, modest], key=lambda each: each[0].rank)
        if job is modest[0]:
            break
        waiting.remove((job, start))
        serve(turns, job, start)
        waiting.append(begin(turns, "greedy", priority="high"))
        served_before += 1
    assert served_before <= FIRST_JOBS + 1


def test_among_busy_callers_priorities_are_shares() -> None:
    turns = Turns()
    begin(turns, "other")
    jobs = [begin(turns, p, priority=p)[0] for p in ("low", "normal", "high") for _ in range(100)]
    first = Counter(job.owner for job in sorted(jobs, key=lambda job: job.rank)[:70])
    assert first == {"high": 40, "normal": 20, "low": 10}


def test_refused_jobs_cost_their_caller_no_turn() -> None:
    turns = Turns()
    begin(turns, "other")
    for _ in range(FLOOD):
        turns.end(*begin(turns, "refused"))
    assert begin(turns, "refused")[0].turn == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_nothing_is_kept_of_callers_who_have_gone(steps: list[tuple[str, bool]]) -> None:
    turns = Turns()
    begun: list[tuple[Job, int]] = []
    for owner, begins in steps:
        if begins or not begun:
            begun.append(begin(turns, owner))
        else:
            serve(turns, *begun.pop(0))
    for each in begun:
        serve(turns, *each)
    assert not turns._jobs
    assert len(turns._over) <= 4


@pytest.mark.anyio
@pytest.mark.parametrize("priority", ["normal", "high"])
async def test_a_flood_of_one_caller_neither_refuses_nor_starves_another(priority: str) -> None:
    async with engine(queue_limit=16, batch_limit=1) as service, client(service) as speaking:
        flooding = [asyncio.create_task(flood(service, priority)) for _ in range(40)]
        await asyncio.sleep(0)
        answers = [
            await edit(speaking, "slowly", headers={"x-forwarded-for": "192.0.2.7"})
            for _ in range(5)
        ]
        for each in flooding:
            each.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
    assert [answer.status_code for answer in answers] == [200] * 5


async def flood(service: Service, priority: str) -> None:
    """Send edits that share no batch, each after the response to the last."""
    headers = {"x-forwarded-for": "203.0.113.9", "x-priority": priority}
    async with client(service) as speaking:
        while True:
            await edit(speaking, "slowly", headers=headers)
            await asyncio.sleep(0.02)  # a refusal comes at once, and all run in one event loop
