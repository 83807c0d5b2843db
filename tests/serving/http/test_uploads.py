"""The bytes of all uploads together have a bound, and each caller a share of it."""

from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.errors import Overloaded
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.http.uploads import FREE_BYTES, Uploads
from tests.reading import value

MEGABYTE = 1_000_000


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
            other.grow(4 * MEGABYTE)
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
