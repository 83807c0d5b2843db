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


class Queue:
    """Jobs that take a second for each step, and how often they were ordered again."""

    ordered = 0

    def seconds(self, job: Job) -> float:
        return float(job.steps)

    def reorder(self) -> None:
        self.ordered += 1


def made() -> Turns:
    return Turns(Queue())


def begin(turns: Turns, owner: str, **more: Any) -> tuple[Job, int]:
    job = a_job(owner=owner, **more)
    return job, turns.begin(job)


def serve(turns: Turns, job: Job, length: int, seconds: float | None = None) -> None:
    """Let a job take its time on the device, as predicted unless said otherwise."""
    job.progress.state = "running"
    job.progress.device_seconds = float(job.steps) if seconds is None else seconds
    turns.end(job, length)


def test_the_jobs_of_a_caller_who_is_alone_have_their_priorities() -> None:
    turns = made()
    begun = [begin(turns, "one") for _ in range(FLOOD)]
    urgent, _ = last = begin(turns, "one", priority="high")
    assert {job.rank for job, _ in begun[FIRST_JOBS:]} == {urgent.rank + 1}
    begun.append(last)
    for each in begun:
        serve(turns, *each)
    assert not turns._jobs


def test_a_new_caller_comes_before_most_of_what_a_flood_sends_after_it() -> None:
    turns = made()
    begin(turns, "modest")
    flood = [begin(turns, "greedy", priority="high")[0] for _ in range(FLOOD)]
    newcomer, _ = begin(turns, "third", priority="low")

    ahead = [job for job in flood if job.rank < newcomer.rank]

    assert len(ahead) <= 1
    assert newcomer.callers == 3
    assert flood[-1].own == FLOOD


def test_a_new_caller_waits_for_few_jobs_of_one_who_was_alone() -> None:
    turns = made()
    flood = [begin(turns, "greedy", priority="high")[0] for _ in range(FLOOD)]
    newcomer, _ = begin(turns, "modest", priority="low")
    assert sum(job.rank < newcomer.rank for job in flood) == FIRST_JOBS


def test_a_flood_that_is_served_and_comes_back_at_once_starves_nobody() -> None:
    turns = made()
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
    turns = made()
    begin(turns, "other")
    jobs = [begin(turns, p, priority=p)[0] for p in ("low", "normal", "high") for _ in range(100)]
    first = Counter(job.owner for job in sorted(jobs, key=lambda job: job.rank)[:70])
    assert first == {"high": 40, "normal": 20, "low": 10}


def test_refused_jobs_cost_their_caller_no_turn() -> None:
    turns = made()
    begin(turns, "other")
    for _ in range(FLOOD):
        turns.end(*begin(turns, "refused"))
    assert begin(turns, "refused")[0].control.turn == 0


def test_a_job_that_is_withdrawn_before_it_runs_moves_no_turn() -> None:
    turns = made()
    begin(turns, "other")
    waiting = [begin(turns, "greedy")[0] for _ in range(30)]
    for _ in range(100):
        turns.end(*begin(turns, "greedy"))  # its turn would come after all those that wait
    modest, _ = begin(turns, "modest")
    assert sum(job.rank < modest.rank for job in waiting) <= 1


def test_turns_are_device_time_as_measured_and_not_as_predicted() -> None:
    turns = made()
    begin(turns, "other")
    for _ in range(10):  # said to be cheap
        serve(turns, *begin(turns, "tiny", steps=1), seconds=60.0)
    tiny, _ = begin(turns, "tiny", steps=1)
    usual = [begin(turns, "usual", steps=20)[0] for _ in range(10)]
    assert sum(job.rank < tiny.rank for job in usual) == 60 / 20


def test_a_job_that_was_cheaper_than_predicted_gives_the_rest_back() -> None:
    turns = made()
    begin(turns, "other")
    for _ in range(10):
        serve(turns, *begin(turns, "one", steps=100), seconds=0.5)
    begin(turns, "another", steps=100)
    assert begin(turns, "one")[0].rank < begin(turns, "another")[0].rank


def test_what_one_caller_queued_while_it_was_alone_takes_turns_with_a_second_caller() -> None:
    turns = made()
    flood = [begin(turns, "greedy")[0] for _ in range(FLOOD)]
    for job in flood[:FIRST_JOBS]:
        job.progress.state = "running"
    second = [begin(turns, "modest")[0] for _ in range(20)]
    assert isinstance(turns._queue, Queue)
    assert turns._queue.ordered == 1, "only once"

    ahead = sum(job.rank < second[-1].rank for job in flood)
    assert FIRST_JOBS + 10 <= ahead <= FIRST_JOBS + 20
    late, _ = begin(turns, "greedy")
    assert late.rank > max(job.rank for job in flood)


def test_what_was_queued_by_one_caller_keeps_its_priorities_when_a_second_one_comes() -> None:
    turns = made()
    low = [begin(turns, "one", priority="low")[0] for _ in range(20)]
    high = [begin(turns, "one", priority="high")[0] for _ in range(20)]
    begin(turns, "another")
    assert max(job.rank for job in high) < min(job.rank for job in low[FIRST_JOBS:])


def test_a_caller_is_modest_with_less_than_half_of_an_equal_share() -> None:
    turns = made()
    flood = [begin(turns, "greedy")[0] for _ in range(10)]
    modest = [begin(turns, "modest")[0] for _ in range(10)]
    assert not any(job.is_modest for job in flood)
    assert [job.is_modest for job in modest[:4]] == [True, True, True, False]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_nothing_is_kept_of_callers_who_have_gone(steps: list[tuple[str, bool]]) -> None:
    turns = made()
    begun: list[tuple[Job, int]] = []
    for owner, begins in steps:
        if begins or not begun:
            begun.append(begin(turns, owner))
        else:
            serve(turns, *begun.pop(0))
    for each in begun:
        serve(turns, *each)
    assert not turns._jobs
    assert not turns._unplaced
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
