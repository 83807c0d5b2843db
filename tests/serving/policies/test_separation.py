"""A caller whose job failed has batches of its own for a while."""

import pytest

from safelight.errors import ModelError, OutOfMemory, SafelightError, WorkerLost
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.policies.separation import _OWNER_LIMIT, SECONDS, separation
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


@pytest.mark.parametrize("error", [ModelError("ValueError"), WorkerLost()])
def test_jobs_of_a_caller_whose_job_failed_share_no_batch_with_others(
    error: SafelightError,
) -> None:
    model, clock = Model(), FakeClock()
    handle = separation(model, clock=clock)
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")

    fail(handle, model, error)

    assert key_of(handle, model, "bad") != key_of(handle, model, "good")
    assert key_of(handle, model, "bad") == key_of(
        handle, model, "bad"
    )  # they share with each other


def test_after_a_minute_without_a_failure_a_caller_shares_batches_again() -> None:
    model, clock = Model(), FakeClock()
    handle = separation(model, clock=clock)
    fail(handle, model, ModelError("ValueError"))
    clock.now += SECONDS + 1
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")


def test_a_job_that_does_not_fit_into_memory_separates_nobody() -> None:
    model = Model()
    handle = separation(model, clock=FakeClock())
    fail(handle, model, OutOfMemory())
    assert key_of(handle, model, "bad") == key_of(handle, model, "good")


def test_a_crowd_of_failing_callers_is_bounded() -> None:
    model = Model()
    handle = separation(model, clock=FakeClock())
    for number in range(_OWNER_LIMIT + 1):
        fail(handle, model, ModelError("ValueError"), owner=f"{number}")
    assert key_of(handle, model, "0") == key_of(handle, model, "good")
    assert key_of(handle, model, "1") != key_of(handle, model, "good")
