"""A job's second try."""

from collections.abc import Callable

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
from safelight.serving.job import Job, Outcome
from safelight.serving.policies.retry import retry
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock
from tests.serving.jobs import a_job, an_outcome, run

MENDABLE: tuple[SafelightError, ...] = (WorkerLost(), InvalidOutput("black"))


class Model:
    """A handler that fails as listed, then serves; remembers every job it was given."""

    def __init__(self, *errors: SafelightError, first: Callable[[Job], object] = lambda _: 0):
        self._errors = list(errors)
        self._first = first
        self.jobs: list[Job] = []

    async def __call__(self, job: Job) -> Outcome:
        self.jobs.append(job)
        if len(self.jobs) == 1:
            self._first(job)
        if self._errors:
            raise self._errors.pop(0)
        return an_outcome()


def test_a_job_that_succeeds_is_done_once() -> None:
    model = Model()

    assert run(retry(model)) == an_outcome()
    assert len(model.jobs) == 1


def test_a_job_whose_worker_was_lost_is_tried_again_alone() -> None:
    model = Model(WorkerLost())

    assert run(retry(model)) == an_outcome()
    assert [(job.alone, job.seed) for job in model.jobs] == [(False, 1), (True, 1)]


def test_an_unusable_image_is_made_again_from_another_seed() -> None:
    model = Model(InvalidOutput("black"))

    assert run(retry(model)) == an_outcome()
    assert [(job.alone, job.seed) for job in model.jobs] == [(False, 1), (False, 2)]


def test_the_request_remembers_why_it_was_tried_again_and_when() -> None:
    job, clock = a_job(), FakeClock()
    job.exchange.timeline = Timeline(clock=clock)

    def first(job: Job) -> None:
        clock.now = 2.0
        job.exchange.timeline.mark("denoise")

    run(retry(Model(WorkerLost(), first=first)), job)

    assert job.exchange.retries == ((WorkerLost.reason, 2.0),)


def test_the_last_seed_is_followed_by_the_first() -> None:
    model = Model(InvalidOutput("flat"))
    job = a_job()

    run(
        retry(model), Job(job.id, job.image, job.size, job.parameters, 2**32 - 1, 1e9, job.exchange)
    )

    assert model.jobs[1].seed == 0


@pytest.mark.parametrize("first", MENDABLE)
@pytest.mark.parametrize("second", MENDABLE)
def test_a_job_is_tried_once_more_and_never_twice(
    first: SafelightError, second: SafelightError
) -> None:
    model = Model(first, second)

    with pytest.raises(type(second)):
        run(retry(model))
    assert len(model.jobs) == 2


@pytest.mark.parametrize(
    "error",
    [OutOfMemory(), ModelError("ValueError"), NotReady(), Timeout(1), Cancelled()],
    ids=lambda error: error.reason,
)
def test_other_failures_are_not_retried(error: SafelightError) -> None:
    model = Model(error)

    with pytest.raises(type(error)):
        run(retry(model))
    assert len(model.jobs) == 1


@pytest.mark.parametrize("error", MENDABLE, ids=lambda error: error.reason)
def test_a_stopped_job_is_not_retried(error: SafelightError) -> None:
    model = Model(error, first=lambda job: job.control.stop(Cancelled()))

    with pytest.raises(type(error)):
        run(retry(model))
    assert len(model.jobs) == 1


@pytest.mark.parametrize("error", MENDABLE, ids=lambda error: error.reason)
@pytest.mark.parametrize(("now", "tries"), [(9.9, 2), (10.0, 1), (11.0, 1)])
def test_a_job_is_not_tried_again_past_its_deadline(
    error: SafelightError, now: float, tries: int
) -> None:
    clock = FakeClock()
    model = Model(error, error, first=lambda _: setattr(clock, "now", now))

    with pytest.raises(type(error)):
        run(retry(model, clock=clock), a_job(deadline=10.0))
    assert len(model.jobs) == tries


def test_without_a_clock_of_its_own_it_reads_the_loops() -> None:
    model = Model(WorkerLost())

    with pytest.raises(WorkerLost):
        run(retry(model), a_job(deadline=0.0))
    assert len(model.jobs) == 1


def test_the_second_try_is_the_same_request() -> None:
    model = Model(WorkerLost())

    run(retry(model))

    first, second = model.jobs
    assert first.control is second.control
    assert first.progress is second.progress
    assert first.exchange is second.exchange
    assert (first.id, first.deadline, first.parameters) == (
        second.id,
        second.deadline,
        second.parameters,
    )
