import threading

import pytest

from safelight.metrics.catalog import PROBE_FAILURES, PROBE_SECONDS, PROBE_TIMESTAMP
from safelight.metrics.registry import Meter
from safelight.probes.sampler import Sampler
from safelight.settings import load
from tests.reading import FakeClock, series, value


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1000)


@pytest.fixture
def sampler(meter: Meter, clock: FakeClock) -> Sampler:
    return Sampler(meter, clock=clock, wall_clock=lambda: 1.7e9)


class Source:
    """A source that records its reading times."""

    def __init__(self, clock: FakeClock, *, answer: bool = True) -> None:
        self.read_at: list[float] = []
        self._clock = clock
        self._answer = answer

    def read(self) -> bool:
        self.read_at.append(self._clock() - 1000)
        return self._answer


def run(sampler: Sampler, clock: FakeClock, until: float) -> None:
    """Run the sampler's loop on the fake clock."""
    while clock.now < 1000 + until:
        clock.now += sampler.tick()


def fail() -> bool:
    raise OSError("the GPU fell off the bus")


def test_p6_z4_gpus_are_read_every_5_s_and_the_machine_every_10_s(
    sampler: Sampler, clock: FakeClock
) -> None:
    settings, gpus, machine = load(), Source(clock), Source(clock)
    sampler.every(settings.gpu_interval_seconds, "nvml", gpus.read)
    sampler.every(settings.host_interval_seconds, "host", machine.read)
    run(sampler, clock, until=30)
    assert gpus.read_at == [0, 5, 10, 15, 20, 25]
    assert machine.read_at == [0, 10, 20]


def test_an_early_tick_reads_nothing(sampler: Sampler, clock: FakeClock) -> None:
    source = Source(clock)
    sampler.every(5, "nvml", source.read)
    sampler.tick()
    clock.now += 2
    assert sampler.tick() == 3
    assert source.read_at == [0]


def test_a_failed_reading_is_counted_and_the_others_continue(
    sampler: Sampler, clock: FakeClock, meter: Meter
) -> None:
    after = Source(clock)
    sampler.every(5, "nvml", fail)
    sampler.every(5, "host", after.read)
    run(sampler, clock, until=15)
    assert value(meter, PROBE_FAILURES, probe="nvml") == 3
    assert after.read_at == [0, 5, 10]
    assert series(meter, PROBE_TIMESTAMP) == [{"probe": "host"}]


def test_a_successful_reading_sets_the_timestamp(
    sampler: Sampler, clock: FakeClock, meter: Meter
) -> None:
    sampler.every(5, "host", Source(clock).read)
    sampler.every(5, "nvml", Source(clock, answer=False).read)
    sampler.tick()
    assert value(meter, PROBE_TIMESTAMP, probe="host") == 1.7e9
    assert series(meter, PROBE_TIMESTAMP, probe="nvml") == []


def test_the_cost_of_a_reading_is_counted(sampler: Sampler, clock: FakeClock, meter: Meter) -> None:
    sampler.every(5, "host", Source(clock).read)
    sampler.tick()
    assert 0 < value(meter, PROBE_SECONDS, probe="host") < 1


def test_without_readings_the_sampler_waits(sampler: Sampler) -> None:
    assert sampler.tick() == 60


def test_the_thread_reads_until_it_is_stopped(meter: Meter) -> None:
    read, before = threading.Event(), threading.active_count()
    sampler = Sampler(meter)

    def note() -> bool:
        read.set()
        return True

    sampler.every(0.001, "host", note)
    sampler.start()
    assert read.wait(timeout=10)
    sampler.stop()
    sampler.stop()
    assert threading.active_count() == before


def test_a_fork_waits_for_a_reading_but_not_for_the_network(meter: Meter) -> None:
    begun, more = threading.Event(), threading.Event()
    apart, end = threading.Event(), threading.Event()
    sampler = Sampler(meter)

    def read() -> bool:
        begun.set()
        more.wait(10)
        with sampler.apart():
            apart.set()
            end.wait(10)
        return True

    sampler.every(3600, "host", read)
    sampler.start()
    assert begun.wait(10)
    sampler.hold()
    assert not sampler._held, "a second passed, and the reading went on"
    more.set()
    assert apart.wait(10)
    sampler.hold()
    assert sampler._held
    end.set()
    sampler.release()
    sampler.stop()
    assert sampler._ticking.acquire(timeout=10), "it was taken again, and released at the end"
