"""Timers that share those of the event loop."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from functools import partial

import pytest

from safelight.serving.timers import TICK_SECONDS, Timers
from tests.reading import FakeClock, MovedLoop


class Loop(MovedLoop):
    """A loop that counts its own timers."""

    @property
    def timers(self) -> int:
        scheduled: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        return sum(not handle.cancelled() for handle in scheduled)


Scene = Callable[[Loop, FakeClock, Timers], Coroutine[None, None, None]]


def play(scene: Scene) -> None:
    clock = FakeClock(100.0)
    loop = Loop(clock)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scene(loop, clock, Timers()))


async def a_moment() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.01, 0.1234, 99.999])
def test_a_timer_fires_at_its_time_or_a_tick_later_and_never_before(seconds: float) -> None:
    async def scene(_loop: Loop, clock: FakeClock, timers: Timers) -> None:
        fired = list[float]()
        timers.at(clock() + seconds, lambda: fired.append(clock()))
        clock.now += seconds - 1e-6
        await a_moment()
        assert not fired
        clock.now += 1e-6 + TICK_SECONDS
        await a_moment()
        assert fired == [clock()]

    play(scene)


def test_timers_of_one_moment_share_one_of_the_loop_and_leave_none_behind() -> None:
    async def scene(loop: Loop, clock: FakeClock, timers: Timers) -> None:
        before = loop.timers
        many = [timers.at(clock() + 5, lambda: None) for _ in range(100)]
        assert loop.timers == before + 1
        for timer in many:
            timer.cancel()
        assert loop.timers == before

    play(scene)


def test_a_cancelled_timer_does_not_fire_also_if_another_one_cancels_it() -> None:
    async def scene(_loop: Loop, clock: FakeClock, timers: Timers) -> None:
        fired = list[str]()
        gone = timers.at(clock() + 1, lambda: fired.append("gone"))
        gone.cancel()

        def fire(name: str, other: str) -> None:
            fired.append(name)
            both[other].cancel()

        both = {
            name: timers.at(clock() + 1, partial(fire, name, other))
            for name, other in (("a", "b"), ("b", "a"))
        }
        clock.now += 1 + TICK_SECONDS
        await a_moment()
        assert len(fired) == 1

    play(scene)


def test_a_function_that_fails_does_not_keep_the_others_from_their_call() -> None:
    async def scene(loop: Loop, clock: FakeClock, timers: Timers) -> None:
        failures, fired = list[object](), list[str]()
        loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        for name in ("a", "b", "c"):
            timers.at(clock() + 1, lambda: [][0])
            timers.at(clock() + 1, partial(fired.append, name))
        clock.now += 1 + TICK_SECONDS
        await a_moment()
        assert sorted(fired) == ["a", "b", "c"]
        assert len(failures) == 3

    play(scene)


@pytest.mark.parametrize("fires", [True, False])
def test_a_timer_that_is_over_leaves_no_garbage(fires: bool) -> None:
    class Waits:
        """Refers to its timer, which refers to it."""

        def __init__(self, timers: Timers, at: float) -> None:
            self.timer = timers.at(at, self.end)

        def end(self) -> None:
            """Do nothing."""

    async def scene(_loop: Loop, clock: FakeClock, timers: Timers) -> None:
        waits = Waits(timers, clock() + 1)
        gone = weakref.ref(waits)
        gc.disable()
        try:
            if fires:
                clock.now += 1 + TICK_SECONDS
                await a_moment()
            else:
                waits.timer.cancel()
            del waits
            assert gone() is None
        finally:
            gc.enable()

    play(scene)


def test_a_timer_that_ends_late_does_not_end_a_new_one_of_its_moment() -> None:
    async def scene(_loop: Loop, clock: FakeClock, timers: Timers) -> None:
        fired = list[str]()
        at = clock() + 0.5 * TICK_SECONDS
        old = timers.at(at, lambda: fired.append("old"))
        clock.now += TICK_SECONDS
        await a_moment()
        timers.at(at, lambda: fired.append("new"))
        old.cancel()
        await a_moment()
        assert fired == ["old", "new"]

    play(scene)
