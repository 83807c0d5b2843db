"""The bounded queue."""

import asyncio

import pytest

from safelight.errors import NotReady, Overloaded
from safelight.metrics.registry import Meter, parse
from safelight.serving.admission import admission
from safelight.serving.job import Job, Outcome
from tests.serving.jobs import a_job, an_outcome, run


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rejected(meter: Meter, reason: str) -> float:
    samples = parse(meter.expose().body.decode())
    return samples[("tests_rejected_total", frozenset({("reason", reason)}))]


def test_a_job_passes_while_there_is_room() -> None:
    meter = Meter("tests")

    async def handle(job: Job) -> Outcome:
        return an_outcome()

    admitted = admission(handle, limit=2, meter=meter, waiting=lambda: 1)

    assert run(admitted) == an_outcome()
    assert rejected(meter, "overloaded") == 0


def test_a_job_beyond_the_limit_is_refused_and_counted() -> None:
    meter = Meter("tests")

    async def handle(job: Job) -> Outcome:
        raise AssertionError("a refused job must cost nothing")

    admitted = admission(handle, limit=2, meter=meter, waiting=lambda: 2)

    with pytest.raises(Overloaded, match="2 requests are waiting and the limit is 2"):
        run(admitted)
    assert rejected(meter, "overloaded") == 1


def test_retry_after_is_the_time_in_which_the_queue_will_have_been_served() -> None:
    clock, waiting = FakeClock(), [0]

    async def handle(job: Job) -> Outcome:
        clock.now += 4.0
        return an_outcome()

    admitted = admission(
        handle, limit=10, meter=Meter("tests"), waiting=lambda: waiting[0], clock=clock
    )

    async def many() -> None:
        for _ in range(60):
            await admitted(a_job())

    asyncio.run(many())
    waiting[0] = 10

    with pytest.raises(Overloaded) as refused:
        run(admitted)
    assert refused.value.retry_after_seconds == pytest.approx(40, rel=0.01)


def test_a_service_without_a_model_counts_its_refusals() -> None:
    meter = Meter("tests")

    async def handle(job: Job) -> Outcome:
        raise NotReady

    admitted = admission(handle, limit=10, meter=meter, waiting=lambda: 0)

    with pytest.raises(NotReady):
        run(admitted)
    assert rejected(meter, "not_ready") == 1
