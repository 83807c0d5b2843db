from safelight.probes.timers import CudaTimer, HostTimer
from tests.probes.cuda import FakeCuda
from tests.reading import FakeClock


def test_the_host_has_passed_every_mark() -> None:
    clock = FakeClock(5)
    timer = HostTimer(clock)
    first: float = timer.mark()
    clock.now = 7
    second: float = timer.mark()
    assert timer.passed(second)
    assert timer.seconds(first, second) == 2


def test_a_device_passes_a_mark_later() -> None:
    cuda = FakeCuda()
    timer = CudaTimer(cuda, "cuda:0")
    mark = timer.mark()
    assert not timer.passed(mark)
    cuda.catch_up()
    assert timer.passed(mark)


def test_device_time_is_in_seconds() -> None:
    cuda = FakeCuda()
    timer = CudaTimer(cuda, "cuda:0")
    first, second = timer.mark(), timer.mark()
    cuda.catch_up()
    assert timer.seconds(first, second) == 0.01


def test_marks_are_recorded_on_the_current_stream_of_the_device() -> None:
    cuda = FakeCuda()
    CudaTimer(cuda, "cuda:1").mark()
    assert cuda.asked_for == ["cuda:1"]
