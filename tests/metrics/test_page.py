"""Readers of the metrics take at most a tenth of the time."""

from itertools import count
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder

from safelight.metrics.page import Page, Readers, format_of
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


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "text/plain; version=0.0.4",
        "text/plain; version=1.0.0; escaping=allow-utf-8",
        "text/plain;version=1.0.0",
        "application/openmetrics-text",
        "application/openmetrics-text; version=1.0.0; escaping=dots, text/plain",
        "application/openmetrics-text;version=1.0.0;escaping=values",
        "application/openmetrics-text; version=0.0.1",
    ],
)
def test_the_short_form_of_an_accept_header_has_the_same_format(accept: str) -> None:
    assert choose_encoder(format_of(accept))[1] == choose_encoder(accept)[1]


@given(st.text(max_size=60), st.integers(0, 10**6))
def test_all_accept_headers_have_few_formats(text: str, number: int) -> None:
    odd = [
        text,
        f"application/openmetrics-text; version={text}",
        f"application/openmetrics-text; version=1.0.{number}; escaping={text}",
        f"text/plain; version={number}.0.0; q=0.{number}",
    ]
    kinds = ("application/openmetrics-text", "text/plain")
    escaping = ("allow-utf-8", "underscores", "dots", "values")
    known = {"", *kinds, *(f"{k}; version=1.0.0; escaping={e}" for k in kinds for e in escaping)}
    assert {format_of(each) for each in odd} <= known


def test_readers_with_a_new_accept_header_each_time_share_the_pages_too() -> None:
    page, clock = Slow(clock := FakeClock(100)), clock
    for number in range(1000):
        clock.now += 0.01
        accept = f"text/html;q=0.{number}"
        page.kept(accept) or page.write(accept, None)
    assert page.written <= 11 + (clock.now - 100) * 0.1 / 0.1
    assert len(page._kept) == 1


def test_soon_after_a_rush_the_pages_are_new_again() -> None:
    page, clock = Slow(clock := FakeClock(100)), clock
    for _ in range(10_000):  # no reader gets a kept page: each is the first of its format
        page._kept.clear()
        page.write("", None)
    clock.now += 6
    assert page.kept("") is None


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


def test_one_address_has_eight_readers_at_once_and_leaves_room_for_others() -> None:
    readers = Readers(FakeClock(100))
    assert [readers.enter("a", is_spent=False) for _ in range(9)] == [True] * 8 + [False]
    assert readers.enter("b", is_spent=False)
    readers.leave("a")
    assert readers.enter("a", is_spent=False)


def test_an_address_gets_ten_pages_a_second_while_pages_take_too_much_time() -> None:
    readers, pages = Readers(clock := FakeClock(100)), 0
    for _ in range(500):
        clock.now += 1 / 500
        if readers.enter("a", is_spent=True):
            pages += 1
            readers.leave("a")
    assert 9 <= pages <= 11
    assert readers.enter("b", is_spent=True)


def test_addresses_that_read_once_are_forgotten() -> None:
    readers = Readers(FakeClock(100))
    for number in range(5000):
        assert readers.enter(str(number), is_spent=True)
        readers.leave(str(number))
    assert len(readers._last) <= 1000
    assert not readers._reading
