import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable

import pytest
import uvloop

from safelight.metrics.catalog import HTTP_LAG
from safelight.metrics.registry import Meter
from safelight.probes.heartbeat import Heartbeat
from tests.reading import FakeClock, series, value

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(100.0)


def run(
    work: Callable[[], None],
    *,
    beats: int = 0,
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """Run the work in a loop, and end it after some beats."""

    async def main() -> None:
        work()
        for _ in range(beats):
            await asyncio.sleep(0.12)

    loop = factory()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def blocks(seconds: float) -> None:
    """Block the thread, as a handler that computes."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("factory", LOOPS)
def test_a_free_loop_is_on_time(
    meter: Meter, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    heartbeat = Heartbeat(meter)
    run(heartbeat.start, beats=3, factory=factory)
    assert value(meter, HTTP_LAG, "_count") >= 2
    assert value(meter, HTTP_LAG, "_sum") < 0.1


@pytest.mark.parametrize("factory", LOOPS)
def test_a_handler_that_blocks_the_loop_is_seen(
    meter: Meter, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    heartbeat = Heartbeat(meter)

    def handler() -> None:
        heartbeat.start()
        blocks(0.6)

    run(handler, beats=1, factory=factory)
    assert 0.4 < value(meter, HTTP_LAG, "_sum") < 0.9
    assert value(meter, HTTP_LAG, "_bucket", le="0.25") < value(meter, HTTP_LAG, "_count")


def test_a_blocking_that_has_not_ended_is_seen_by_a_scrape(meter: Meter, clock: FakeClock) -> None:
    heartbeat = Heartbeat(meter, clock=clock)
    seen: list[float] = []

    def handler() -> None:
        heartbeat.start()
        for _ in range(2):
            clock.now += 15.0  # the handler blocks; a scrape comes from another thread
            scrape = threading.Thread(target=lambda: seen.append(value(meter, HTTP_LAG, "_sum")))
            scrape.start()
            scrape.join()

    run(handler)
    assert seen == [pytest.approx(14.9), pytest.approx(29.9)]


def test_a_loop_that_has_ended_is_not_late(meter: Meter, clock: FakeClock) -> None:
    run(Heartbeat(meter, clock=clock).start)
    clock.now += 60.0
    assert series(meter, HTTP_LAG) == []


def test_the_next_loop_gets_the_timer(meter: Meter) -> None:
    heartbeat = Heartbeat(meter)
    run(heartbeat.start, beats=1)
    before = value(meter, HTTP_LAG, "_count")
    run(heartbeat.start, beats=2)
    assert value(meter, HTTP_LAG, "_count") > before


def test_one_loop_has_one_timer(meter: Meter) -> None:
    heartbeat = Heartbeat(meter)

    def twice() -> None:
        heartbeat.start()
        heartbeat.start()

    run(twice, beats=2)
    assert value(meter, HTTP_LAG, "_count") <= 3


def test_after_unwatch_the_timer_does_not_fire_again(meter: Meter) -> None:
    heartbeat = Heartbeat(meter)

    def stopped() -> None:
        heartbeat.start()
        heartbeat.stop()
        heartbeat.stop()
        heartbeat.start()

    run(stopped, beats=2)
    assert series(meter, HTTP_LAG) == []


def test_the_timer_does_not_keep_its_application_alive() -> None:
    meter = Meter("pix")
    kept = weakref.ref(meter)
    heartbeat: Heartbeat | None = Heartbeat(meter)
    loop = asyncio.new_event_loop()

    async def main() -> None:
        assert heartbeat is not None
        heartbeat.start()

    loop.run_until_complete(main())
    del meter, main
    heartbeat = None
    gc.collect()
    assert kept() is None
    loop.close()


def test_the_timer_does_not_keep_a_process_alive() -> None:
    program = (
        "import asyncio; from safelight.metrics.registry import Meter\n"
        "from safelight.probes.heartbeat import Heartbeat\n"
        "heartbeat = Heartbeat(Meter('pix'))\n"
        "async def main(): heartbeat.start()\n"
        "asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
