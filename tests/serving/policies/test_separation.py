"""A caller whose job failed has batches of its own for a while."""

import asyncio

import pytest

from safelight.errors import (
    InvalidOutput,
    ModelError,
    OutOfMemory,
    Overloaded,
    SafelightError,
    WorkerLost,
)
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.policies.separation import _LIMIT, REFUSED_SECONDS, SECONDS, separation
from tests.reading import FakeClock
from tests.serving.jobs import a_job, an_outcome, run


class Model:
    """A handler whose next job may fail; it keeps the keys of all jobs."""

    def __init__(self) -> None:
        self.fails: SafelightError | None = None
        self.keys: list[tuple[object, ...]] = []

    async def __call__(self, job: Job) -> Outcome:
        self.keys.append(job.key)
        if self.fails is not None:
            raise self.fails
        return an_outcome()


def key_of(handle: Handler, model: Model, owner: str) -> tuple[object, ...]:
    run(handle, a_job(owner=owner))
    return model.keys[-1]


def fail(handle: Handler, model: Model, error: SafelightError, owner: str = "bad") -> None:
    model.fails = error
    with pytest.raises(SafelightError):
        run(handle, a_job(owner=owner))
    model.fails = None


@pytest.mark.parametrize("error", [ModelError("ValueError"), InvalidOutput("black")])
def test_jobs_of_a_caller_whose_job_failed_share_no_batch_with_others(
    error: SafelightError,
) -> None:
    model, clock = Model(), FakeClock()
    handle = separation(model, Meter("tests"), clock=clock)
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")

    fail(handle, model, error)

    assert key_of(handle, model, "bad") != key_of(handle, model, "good")
    assert key_of(handle, model, "bad") == key_of(
        handle, model, "bad"
    )  # they share with each other


def test_after_a_minute_without_a_failure_a_caller_shares_batches_again() -> None:
    model, clock = Model(), FakeClock()
    handle = separation(model, Meter("tests"), clock=clock)
    fail(handle, model, ModelError("ValueError"))
    clock.now += SECONDS + 1
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")


def test_a_job_that_does_not_fit_into_memory_separates_nobody() -> None:
    model = Model()
    handle = separation(model, Meter("tests"), clock=FakeClock())
    fail(handle, model, OutOfMemory())
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")


def test_a_crowd_of_failing_callers_is_bounded() -> None:
    model = Model()
    handle = separation(model, Meter("tests"), clock=FakeClock())
    for number in range(_LIMIT + 1):
        fail(handle, model, ModelError("ValueError"), owner=f"{number}")
    assert key_of(handle, model, "0") == key_of(handle, model, "good")
    assert key_of(handle, model, "1") != key_of(handle, model, "good")


def test_a_job_that_ends_its_worker_is_refused_for_a_while_and_no_other_job() -> None:
    model, clock = Model(), FakeClock(100)
    handle = separation(model, Meter("tests"), clock=clock)
    fail(handle, model, WorkerLost())
    with pytest.raises(Overloaded, match="ended the model's worker twice"):
        run(handle, a_job(owner="bad"))
    run(handle, a_job(owner="bad", steps=3))
    clock.now += REFUSED_SECONDS + 1
    run(handle, a_job(owner="bad"))


def test_beside_others_a_caller_whose_job_ends_its_worker_is_refused_whatever_it_sends() -> None:
    model = Model()
    handle = separation(model, Meter("tests"), clock=FakeClock(100))
    run(handle, a_job(owner="good"))
    fail(handle, model, WorkerLost())
    with pytest.raises(Overloaded):
        run(handle, a_job(owner="bad", steps=3))
    run(handle, a_job(owner="good"))


def test_waiting_jobs_like_one_that_ended_its_worker_are_stopped() -> None:
    losing, waiting = asyncio.Event(), asyncio.Event()

    async def model(job: Job) -> Outcome:
        if job.id == "first":
            await losing.wait()
            raise WorkerLost
        await waiting.wait()
        return an_outcome()

    async def scenario() -> Job:
        handle = separation(model, Meter("tests"), clock=FakeClock(100))
        first, second = a_job("first", owner="bad"), a_job("second", owner="bad")
        tasks = [asyncio.create_task(coroutine(handle, job)) for job in (first, second)]
        await asyncio.sleep(0)
        losing.set()
        with pytest.raises(WorkerLost):
            await tasks[0]
        waiting.set()
        await tasks[1]
        return second

    async def coroutine(handle: Handler, job: Job) -> Outcome:
        return await handle(job)

    assert isinstance(asyncio.run(scenario()).control.stopped, Overloaded)
