"""The deadline of a job."""

import asyncio

import pytest

from safelight.errors import Timeout
from safelight.serving.deadline import deadline
from safelight.serving.job import Job, Outcome
from tests.serving.jobs import a_job, an_outcome, run


def test_a_job_in_time_is_left_alone() -> None:
    async def handle(job: Job) -> Outcome:
        return an_outcome()

    assert run(deadline(handle, limit_seconds=9)) == an_outcome()


def test_a_job_whose_deadline_passed_fails_with_the_limit_and_its_work_is_cancelled() -> None:
    cancelled = []

    async def handle(job: Job) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(job.id)
            raise
        return an_outcome()

    with pytest.raises(Timeout, match="within 9 seconds"):
        run(deadline(handle, limit_seconds=9), a_job(deadline=0))
    assert cancelled == ["job"]
