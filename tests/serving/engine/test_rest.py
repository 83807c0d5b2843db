"""When a service rests."""

import asyncio
from dataclasses import replace

import pytest

from safelight.serving.engine.rest import Rest
from safelight.serving.job import PredictParameters
from tests.serving.jobs import a_job
from tests.serving.running import eventually

pytestmark = pytest.mark.anyio


class Service:
    """A service whose requests and clock the test moves."""

    def __init__(self) -> None:
        self.idle, self.now, self.looks = True, 0.0, 0
        self.rest = Rest(lambda: self.idle, self.clock)

    def clock(self) -> float:
        self.looks += 1
        return self.now

    async def still_waits(self, task: "asyncio.Task[None]") -> bool:
        """Return whether somebody looked at the clock again and waits on."""
        before = self.looks
        await eventually(lambda: self.looks >= before + 2 or task.done())
        return not task.done()


async def test_a_service_whose_requests_run_does_not_rest() -> None:
    service = Service()
    service.idle, service.now = False, 100.0
    task = asyncio.create_task(service.rest.wait(lambda: False))
    assert await service.still_waits(task)
    assert service.rest.is_wanted
    service.idle = True
    assert await service.still_waits(task)  # the last one ended just now
    service.now = 100.3
    await task
    assert not service.rest.is_wanted


async def test_a_request_that_came_and_went_between_two_looks_starts_the_rest_anew() -> None:
    service = Service()
    task = asyncio.create_task(service.rest.wait(lambda: False))
    assert await service.still_waits(task)
    service.now = 0.19
    service.rest.arrived()
    service.now = 0.3
    assert await service.still_waits(task)
    service.now = 0.4
    await task


async def test_who_waits_can_give_up() -> None:
    service = Service()
    over: list[int] = []
    task = asyncio.create_task(service.rest.wait(lambda: bool(over)))
    assert await service.still_waits(task)
    over.append(1)
    await task


def test_only_what_has_no_steps_must_be_short() -> None:
    service = Service()
    for second in range(10):
        service.now = float(second)
        service.rest.arrived()
    assert service.rest.fits(a_job(steps=2), 5.0)
    recognition = replace(a_job(), parameters=PredictParameters(top=1))
    assert not service.rest.fits(recognition, 5.0)
    assert service.rest.fits(recognition, 0.05)


def test_few_missed_copies_say_nothing_and_many_say_why() -> None:
    rest = Service().rest
    rest.missed = 9
    assert rest.note(0) == ""
    rest.missed = 12
    assert "never idle" in rest.note(5)
    assert rest.note(100) == ""
