"""Equal lines are thinned and counted."""

from safelight.telemetry.flood import PER_SECOND, Flood, Kind
from tests.reading import FakeClock

ONE, TWO = Kind("library", 30, "one"), Kind("library", 30, "two")


def test_so_many_equal_lines_a_second_are_written_and_the_others_counted() -> None:
    clock = FakeClock()
    flood = Flood(clock)
    assert [flood.admits(ONE) for _ in range(100)].count(True) == PER_SECOND
    assert flood.admits(TWO)
    assert flood.left_out() == {}
    clock.now += 1
    assert flood.left_out() == {ONE: 100 - PER_SECOND}
    assert flood.left_out() == {}
    assert flood.admits(ONE)


def test_at_the_end_the_last_second_is_told_too() -> None:
    flood = Flood(FakeClock())
    for _ in range(PER_SECOND + 3):
        flood.admits(ONE)
    assert flood.left_out(at_the_end=True) == {ONE: 3}


def test_kinds_of_an_earlier_second_are_forgotten() -> None:
    clock = FakeClock()
    flood = Flood(clock)
    for number in range(1000):
        flood.admits(Kind("library", 30, str(number)))
    clock.now += 1
    assert flood.left_out() == {}
    assert not flood._numbers
