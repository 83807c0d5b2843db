"""Readers of the metrics take at most a tenth of the time."""

from itertools import count
from time import sleep
from typing import Any

import pytest

from safelight.metrics.page import Page
from safelight.metrics.registry import Exposition, Meter
from tests.reading import FakeClock, at_once

READERS = 16


class Slow(Page):
    """A page that takes 0.1 s to write."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(Meter("tests"), joins=False, clock=clock)
        self.clock, self.written = clock, 0

    def _write(self, accept: str, own: Any) -> Exposition:
        self.clock.now += 0.1
        self.written += 1
        return super()._write(accept, own)


def test_a_reader_now_and_then_always_gets_a_new_page() -> None:
    page, clock = Slow(clock := FakeClock(100)), clock
    for _ in range(100):
        clock.now += 5
        assert page.kept("") is None
        page.write("", None)
    assert page.written == 100


def test_a_reader_without_pause_gets_the_last_page_after_a_second_of_writing() -> None:
    page, clock = Slow(clock := FakeClock(100)), clock
    for _ in range(1000):
        clock.now += 0.01
        page.kept("") or page.write("", None)
    assert 10 <= page.written <= 11 + (clock.now - 100) * 0.1 / 0.1
    assert page.kept("") is not None


@pytest.mark.parametrize("formats", [1, 40])
def test_kept_pages_are_few(formats: int) -> None:
    page = Slow(FakeClock(100))
    for number in range(formats):
        page.write(f"text/plain; q=0.{number}", None)
    assert len(page._kept) <= 4


def test_readers_at_the_same_time_share_a_page() -> None:
    asked = count()
    written: list[Exposition] = []

    class Waiting(Page):
        def _write(self, accept: str, own: Any) -> Exposition:
            while next(asked) < READERS:  # until all others wait
                sleep(0)
            written.append(super()._write(accept, own))
            return written[-1]

    page = Waiting(Meter("tests"), joins=False, clock=lambda: float(next(asked)))
    at_once(lambda _number: page.write("", None), threads=READERS)
    assert len(written) <= 3
