"""Images kept for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.http.result_store import Shelf
from tests.reading import FakeClock

HOUR = 3600.0


def test_an_image_is_found_under_its_name_as_often_as_it_is_wanted() -> None:
    shelf = Shelf(clock=FakeClock())
    name = shelf.put(b"image")

    assert [shelf.get(name) for _ in range(3)] == [b"image"] * 3


def test_names_are_long_fit_an_address_and_are_never_the_same() -> None:
    shelf = Shelf(clock=FakeClock())
    names = {shelf.put(b"image") for _ in range(100)}

    assert len(names) == 100
    assert all(
        len(name) >= 32 and name.replace("-", "").replace("_", "").isalnum() for name in names
    )


@pytest.mark.parametrize("name", ["", "unknown", "../etc/passwd"])
def test_under_another_name_there_is_nothing(name: str) -> None:
    shelf = Shelf(clock=FakeClock())
    shelf.put(b"image")

    assert shelf.get(name) is None


def test_an_image_is_kept_for_an_hour() -> None:
    clock = FakeClock(50.0)
    shelf = Shelf(clock=clock)
    name = shelf.put(b"image")

    clock.now = 50.0 + HOUR - 0.1
    assert shelf.get(name) == b"image"

    clock.now = 50.0 + HOUR
    assert shelf.get(name) is None


def test_the_oldest_make_room() -> None:
    shelf = Shelf(limit_bytes=10, clock=FakeClock())
    first, second, third = (shelf.put(bytes(4)) for _ in range(3))

    assert shelf.get(first) is None
    assert shelf.get(second) == shelf.get(third) == bytes(4)


def test_as_many_bytes_as_allowed_are_kept() -> None:
    shelf = Shelf(limit_bytes=10, clock=FakeClock())
    first, second = shelf.put(bytes(5)), shelf.put(bytes(5))

    assert shelf.get(first) == shelf.get(second) == bytes(5)


def test_what_is_over_gives_its_bytes_back() -> None:
    clock = FakeClock()
    shelf = Shelf(limit_bytes=10, clock=clock)
    shelf.put(bytes(6))
    clock.now = HOUR

    assert [shelf.get(name) for name in [shelf.put(bytes(5)), shelf.put(bytes(5))]] == [
        bytes(5),
        bytes(5),
    ]


def test_what_is_over_leaves_the_memory_even_where_there_is_room() -> None:
    clock, gone = FakeClock(), list[str]()

    class Watched(bytes):
        def __del__(self) -> None:
            gone.append("image")

    shelf = Shelf(clock=clock)
    shelf.put(Watched(b"image"))
    shelf.put(b"another")
    assert gone == []

    clock.now = HOUR
    shelf.put(b"a third")

    assert gone == ["image"]


def test_an_image_larger_than_the_shelf_is_not_kept_and_does_no_lasting_harm() -> None:
    shelf = Shelf(limit_bytes=10, clock=FakeClock())

    assert shelf.get(shelf.put(bytes(11))) is None
    assert shelf.get(shelf.put(bytes(10))) == bytes(10)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, HOUR)), max_size=30))
def test_never_more_than_the_limit_is_kept_and_never_fewer_images_than_fit(
    puts: list[tuple[int, float]],
) -> None:
    clock = FakeClock()
    shelf, shelved = Shelf(limit_bytes=10, clock=clock), list[tuple[str, int, float]]()
    for size, pause in puts:
        clock.now += pause
        shelved.append((shelf.put(bytes(size)), size, clock.now))

    total = 0
    for name, size, at in reversed(shelved):
        total += size
        kept = total <= 10 and clock.now < at + HOUR
        assert shelf.get(name) == (bytes(size) if kept else None)
        if not kept:
            break
