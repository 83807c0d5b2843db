"""The deadline of a job."""

import asyncio
from collections.abc import Awaitable

import pytest

from safelight.errors import Cancelled, SafelightError, Timeout
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.policies.deadline import deadline
from tests.reading import FakeClock, MovedLoop
from tests.serving.jobs import a_job, an_outcome


def until_done(work: Awaitable[Outcome], clock: FakeClock) -> Outcome:
    async def working() -> Outcome:
        return await work

    with asyncio.Runner(loop_factory=lambda: MovedLoop(clock)) as runner:
        return runner.run(working())


def serving(clock: FakeClock, seconds: float, stopped: list[SafelightError]) -> Handler:
    """Return a handler that takes so long, and ends where its job is stopped, as the engine's."""

    async def handle(job: Job) -> Outcome:
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        class Stoppable:
            def stop(self, error: SafelightError) -> None:
                stopped.append(error)
                answer.set_exception(error)

            def follow(self) -> None:
                raise NotImplementedError

            def position(self) -> int:
                raise NotImplementedError

        def finish() -> None:
            if not answer.done():
                answer.set_result(an_outcome())

        job.control.execution = Stoppable()
        asyncio.get_running_loop().call_later(seconds, finish)
        clock.now += seconds
        return await answer

    return handle


def test_a_job_in_time_is_left_alone() -> None:
    clock, stopped = FakeClock(100.0), list[SafelightError]()
    handle = deadline(serving(clock, 9.0, stopped))

    assert until_done(handle(a_job(deadline=110.0)), clock) == an_outcome()
    assert stopped == []


def test_a_job_is_stopped_at_its_deadline_with_its_timeout_in_the_message() -> None:
    clock, stopped = FakeClock(100.0), list[SafelightError]()
    job = a_job(deadline=105.0, timeout_seconds=5.5)

    with pytest.raises(Timeout, match=r"within 5\.5 seconds"):
        until_done(deadline(serving(clock, 9.0, stopped))(job), clock)
    assert [type(error) for error in stopped] == [Timeout]
    assert isinstance(job.control.stopped, Timeout)


@pytest.mark.parametrize("deadline_at", [100.0, 99.0])
def test_a_job_that_is_late_already_costs_nothing(deadline_at: float) -> None:
    clock = FakeClock(100.0)

    async def never(job: Job) -> Outcome:
        raise AssertionError("a late job was handed on")

    with pytest.raises(Timeout, match="within 7 seconds"):
        until_done(deadline(never)(a_job(deadline=deadline_at, timeout_seconds=7)), clock)


def test_a_job_whose_caller_left_first_is_not_said_to_be_late() -> None:
    clock, job = FakeClock(), a_job(deadline=5.0)

    async def left(job: Job) -> Outcome:
        job.control.stop(Cancelled())
        clock.now = 9.0
        for _ in range(3):  # turns of the loop, in which the alarm rings
            await asyncio.sleep(0)
        return an_outcome()

    until_done(deadline(left)(job), clock)

    assert isinstance(job.control.stopped, Cancelled)


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_that_ended_is_not_stopped_afterwards(fails: bool) -> None:
    clock, job = FakeClock(), a_job(deadline=5.0)

    async def handle(job: Job) -> Outcome:
        if fails:
            raise ValueError
        return an_outcome()

    async def long_after() -> Outcome:
        try:
            await deadline(handle)(job)
        except ValueError:
            assert fails
        clock.now = 9.0
        for _ in range(3):
            await asyncio.sleep(0)
        return an_outcome()

    until_done(long_after(), clock)

    assert job.control.stopped is None
