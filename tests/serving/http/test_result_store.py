"""Images kept for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.http.result_store import ResultStore
from tests.reading import FakeClock

HOUR = 3600.0


def test_a_stored_image_can_be_read_many_times() -> None:
    images = ResultStore(clock=FakeClock())
    name = images.put(b"image")

    assert [images.get(name) for _ in range(3)] == [b"image"] * 3


def test_names_are_long_fit_an_address_and_are_never_the_same() -> None:
    images = ResultStore(clock=FakeClock())
    names = {images.put(b"image") for _ in range(100)}

    assert len(names) == 100
    assert all(
        len(name) >= 32 and name.replace("-", "").replace("_", "").isalnum() for name in names
    )


@pytest.mark.parametrize("name", ["", "unknown", "../etc/passwd"])
def test_under_another_name_there_is_nothing(name: str) -> None:
    images = ResultStore(clock=FakeClock())
    images.put(b"image")

    assert images.get(name) is None


def test_an_image_is_kept_for_an_hour() -> None:
    clock = FakeClock(50.0)
    images = ResultStore(clock=clock)
    name = images.put(b"image")

    clock.now = 50.0 + HOUR - 0.1
    assert images.get(name) == b"image"

    clock.now = 50.0 + HOUR
    assert images.get(name) is None


def test_the_oldest_make_room() -> None:
    images = ResultStore(limit_bytes=10, clock=FakeClock())
    first, second, third = (images.put(bytes(4)) for _ in range(3))

    assert images.get(first) is None
    assert images.get(second) == images.get(third) == bytes(4)


def test_as_many_bytes_as_allowed_are_kept() -> None:
    images = ResultStore(limit_bytes=10, clock=FakeClock())
    first, second = images.put(bytes(5)), images.put(bytes(5))

    assert images.get(first) == images.get(second) == bytes(5)


def test_an_expired_image_frees_its_bytes() -> None:
    clock = FakeClock()
    images = ResultStore(limit_bytes=10, clock=clock)
    images.put(bytes(6))
    clock.now = HOUR

    assert [images.get(name) for name in [images.put(bytes(5)), images.put(bytes(5))]] == [
        bytes(5),
        bytes(5),
    ]


def test_an_expired_image_is_dropped_even_if_there_is_room() -> None:
    clock, gone = FakeClock(), list[str]()

    class Watched(bytes):
        def __del__(self) -> None:
            gone.append("image")

    images = ResultStore(clock=clock)
    images.put(Watched(b"image"))
    images.put(b"another")
    assert gone == []

    clock.now = HOUR
    images.put(b"a third")

    assert gone == ["image"]


def test_an_image_larger_than_the_store_is_not_kept_and_does_no_lasting_harm() -> None:
    images = ResultStore(limit_bytes=10, clock=FakeClock())

    assert images.get(images.put(bytes(11))) is None
    assert images.get(images.put(bytes(10))) == bytes(10)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, HOUR)), max_size=30))
def test_never_more_than_the_limit_is_kept_and_never_fewer_images_than_fit(
    puts: list[tuple[int, float]],
) -> None:
    clock = FakeClock()
    images, stored = ResultStore(limit_bytes=10, clock=clock), list[tuple[str, int, float]]()
    for size, pause in puts:
        clock.now += pause
        stored.append((images.put(bytes(size)), size, clock.now))

    total = 0
    for name, size, at in reversed(stored):
        total += size
        kept = total <= 10 and clock.now < at + HOUR
        assert images.get(name) == (bytes(size) if kept else None)
        if not kept:
            break


def test_a_caller_who_fills_the_store_loses_only_images_of_its_own() -> None:
    images = ResultStore(limit_bytes=1000, clock=FakeClock())
    modest = [images.put(b"m" * 100, "modest") for _ in range(3)]
    greedy = [images.put(b"g" * 100, "greedy") for _ in range(100)]

    assert all(images.get(name) for name in modest)
    assert [name for name in greedy if images.get(name)] == greedy[-7:]
