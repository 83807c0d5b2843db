"""The engine in virtual time comes close to the best schedule, which is the best indeed."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.cells import Cell, simulate
from benchmarks.simulation.loop import Model, VirtualLoop
from benchmarks.simulation.optimum import exhaustive, optimum

NOISE = st.one_of(st.just([1.0] * 8), st.lists(st.floats(0.5, 1.5), min_size=8, max_size=8))


@settings(max_examples=50, deadline=None)
@given(
    arrivals=st.lists(st.floats(0, 4), min_size=1, max_size=6).map(sorted),
    deadline=st.floats(1, 4),
    a=st.floats(0, 1),
    b=st.floats(0.01, 1),
    largest=st.integers(1, 3),
    factors=NOISE,
)
def test_the_optimum_is_that_of_trying_every_schedule(
    arrivals: list[float], deadline: float, a: float, b: float, largest: int, factors: list[float]
) -> None:
    def cost(n: int) -> float:
        return a + b * n

    every = exhaustive(arrivals, deadline, cost, largest, factors)
    assert optimum(arrivals, deadline, cost, largest, factors) == every


def test_two_jobs_that_arrive_together_are_best_made_together() -> None:
    assert optimum([0.0, 0.0], 1.5, lambda n: 1 + 0.1 * n, 2, [1.0] * 3) == 2
    assert optimum([0.0, 0.0], 1.5, lambda n: 1 + 0.1 * n, 1, [1.0] * 3) == 1


@pytest.mark.parametrize(
    ("cell", "least", "late"),
    [
        (Cell(0, 5, 1), 0.93, 0.01),
        (Cell(0, 5, 2), 0.95, 0.01),
        (Cell(0, 5, 5), 0.96, 0.01),
        (Cell(0, 2, 5), 0.82, 0.04),
        (Cell(0.1, 5, 2), 0.93, 0.02),
    ],
    ids=lambda value: f"{value}",
)
def test_no_work_is_refused_that_could_be_done(cell: Cell, least: float, late: float) -> None:
    result = simulate(cell, service_times=60)

    assert result.of_optimum >= least
    assert result.late <= late
    assert result.wasted <= late


def test_virtual_seconds_take_no_time_and_come_in_order() -> None:
    loop, seen = VirtualLoop(), list[float]()

    async def waiting(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(loop.time())

    async def scenario() -> None:
        await asyncio.gather(*map(waiting, (3600.0, 60.0)))

    loop.run_until_complete(scenario())
    loop.close()
    assert seen == pytest.approx([60, 3600])


def test_a_loop_in_which_nothing_will_happen_says_so() -> None:
    loop = VirtualLoop()
    with pytest.raises(RuntimeError, match="no timer is set"):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_a_model_sleeps_in_virtual_time_and_wakes_when_it_is_notified() -> None:
    loop, seen = VirtualLoop(), list[float]()

    async def scenario() -> None:
        def work() -> None:
            for seconds in (5.0, None):
                model.wait(seconds)
                seen.append(loop.time())

        model = Model(loop, work)
        await asyncio.sleep(7)
        model.notify_all()
        await asyncio.sleep(0)

    loop.run_until_complete(scenario())
    loop.close()
    assert seen == pytest.approx([5, 7])
