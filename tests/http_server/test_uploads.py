"""The bytes of all uploads together have a bound, and each caller a share of it."""

from contextlib import ExitStack, suppress
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Overloaded
from safelight.http_server.uploads import FREE_BYTES, Pace, Uploads
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from tests.http_server.site import answered, eventually, site
from tests.reading import FakeClock, value

MEGABYTE = 1_000_000
POST = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_small_bodies_are_free() -> None:
    uploads = Uploads(MEGABYTE, Meter("tests"))
    for number in range(100):
        with uploads.of(f"{number}") as upload:
            upload.grow(FREE_BYTES)
    assert not uploads._bytes


def test_one_caller_holds_at_most_half_and_others_are_served() -> None:
    meter = Meter("tests")
    uploads = Uploads(10 * MEGABYTE, meter)
    with uploads.of("greedy") as first, uploads.of("greedy") as second:
        first.grow(3 * MEGABYTE)
        second.grow(2 * MEGABYTE)
        with pytest.raises(Overloaded) as refused, uploads.of("greedy") as third:
            third.grow(MEGABYTE)
        assert refused.value.retry_after_seconds == 1
        assert value(meter, REJECTED, reason="uploads") == 1
        with uploads.of("modest") as other:
            other.grow(2 * MEGABYTE)
    assert not uploads._bytes


def test_a_body_larger_than_half_has_its_turn() -> None:
    uploads = Uploads(10 * MEGABYTE, Meter("tests"))
    with uploads.of("one") as upload:
        upload.grow(8 * MEGABYTE)
    with pytest.raises(Overloaded), uploads.of("one") as upload:
        upload.grow(11 * MEGABYTE)
    assert not uploads._bytes


def test_a_body_without_a_length_counts_as_it_grows() -> None:
    uploads = Uploads(2 * MEGABYTE, Meter("tests"))
    with uploads.of("one") as upload:
        for size in range(100_000, 2 * MEGABYTE, 100_000):
            upload.grow(size)
        assert uploads._bytes["one"] == 1_900_000
        with pytest.raises(Overloaded):
            upload.grow(2_100_000)


def test_a_caller_who_holds_nothing_has_room_however_much_others_send() -> None:
    uploads = Uploads(100 * MEGABYTE, Meter("tests"))
    with ExitStack() as bodies:
        for number in range(300):
            with suppress(Overloaded):
                bodies.enter_context(uploads.of(f"greedy-{number % 3}")).grow(MEGABYTE + 1)
        assert 70 * MEGABYTE < uploads._bytes.total() <= 75 * MEGABYTE
        for number in range(20):
            bodies.enter_context(uploads.of(f"modest-{number}")).grow(MEGABYTE)
        with pytest.raises(Overloaded), uploads.of("another") as upload:
            upload.grow(2 * MEGABYTE)


@pytest.mark.anyio
async def test_bodies_that_are_declared_and_not_sent_take_no_room_from_others() -> None:
    async with site(uploads_limit_bytes=64 * MEGABYTE) as running:
        for number in range(13):
            address = f"127.0.1.{1 + number % 3}"
            await running.connect(POST % (20 * MEGABYTE) + b"x" * 70_000, address)
        await eventually(lambda: len(running.uploads._bytes) == 3)
        for size in (125_000, 20 * MEGABYTE) * 5:
            sent = await running.connect(POST % size + b"x" * size, "127.0.1.9")
            assert await answered(sent) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.anyio
async def test_large_unfinished_bodies_of_many_callers_leave_room_for_small_ones() -> None:
    async with site(uploads_limit_bytes=20 * MEGABYTE) as running:
        for number in range(30):
            part = POST % (20 * MEGABYTE) + b"x" * MEGABYTE
            await running.connect(part, f"127.0.1.{1 + number % 3}")
        await eventually(lambda: value(running.meter, REJECTED, reason="uploads"))
        for _ in range(10):
            sent = await running.connect(POST % 125_000 + b"x" * 125_000, "127.0.1.9")
            assert await answered(sent) == b"HTTP/1.1 200 OK\r\n"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6 * MEGABYTE)), max_size=30))
def test_the_bound_always_holds_and_every_place_is_given_back(
    bodies: list[tuple[str, int]],
) -> None:
    uploads = Uploads(10 * MEGABYTE, Meter("tests"))
    with ExitStack() as open_uploads:
        for owner, size in bodies:
            upload = open_uploads.enter_context(uploads.of(owner))
            with suppress(Overloaded):
                upload.grow(size)
            assert uploads._bytes.total() <= 10 * MEGABYTE
    assert not uploads._bytes


def test_a_caller_who_is_alone_sends_as_fast_as_it_can() -> None:
    clock = FakeClock()
    pace = Pace(MEGABYTE, clock)
    pace.meet("alone")
    clock.now += 2
    for _ in range(100):
        pace.meet("alone")
        assert pace.charge("alone", MEGABYTE) == 0


def test_the_first_caller_of_a_server_is_alone() -> None:
    pace = Pace(MEGABYTE, FakeClock())
    pace.meet("first")
    assert [pace.charge("first", MEGABYTE) for _ in range(3)] == [0, 0, 0]


def test_a_debt_is_kept_however_many_callers_there_are() -> None:
    clock = FakeClock()
    pace = Pace(MEGABYTE, clock)
    for number in range(2000):
        pace.meet(f"{number}")
        pace.charge(f"{number}", MEGABYTE // 2)
    assert pace.charge("1999", MEGABYTE // 4) == 0.25


def test_a_caller_among_others_has_a_pace_after_half_a_second_of_it() -> None:
    clock = FakeClock()
    pace = Pace(MEGABYTE, clock)
    pace.meet("modest")
    pace.meet("greedy")
    assert pace.charge("greedy", MEGABYTE // 2) == 0
    assert pace.charge("greedy", MEGABYTE // 4) == 0.25
    assert pace.charge("modest", MEGABYTE // 4) == 0
    clock.now += 0.25
    assert pace.charge("greedy", MEGABYTE // 4) == 0.25


def test_a_pace_of_zero_is_none() -> None:
    pace = Pace(0, FakeClock())
    pace.meet("one")
    assert pace.charge("one", 1 << 40) == 0


def test_the_callers_of_the_past_take_no_memory() -> None:
    clock = FakeClock()
    pace = Pace(MEGABYTE, clock)
    for number in range(10_000):
        pace.meet(f"{number}")
        pace.charge(f"{number}", 100_000)
        clock.now += 0.1
    assert len(pace._owes_until) <= 1001


@pytest.mark.anyio
async def test_large_bodies_of_one_caller_arrive_at_its_pace_while_another_calls() -> None:
    async with site(upload_bytes_per_second=20 * MEGABYTE) as running:
        for address in ("127.0.1.9", "127.0.1.8"):
            small = await running.connect(POST % 5 + b"small", address)
            assert await answered(small) == b"HTTP/1.1 200 OK\r\n"
        started = perf_counter()
        large = await running.connect(POST % (20 * MEGABYTE) + b"x" * (20 * MEGABYTE), "127.0.1.8")
        assert await answered(large) == b"HTTP/1.1 200 OK\r\n"
        assert perf_counter() - started > 0.4
