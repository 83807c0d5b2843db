"""Small images never wait behind large ones, and a withdrawn job gives its place back."""

import threading
from collections.abc import Iterator
from math import inf

import pytest

from safelight.quality.images import Larger
from safelight.serving.worker.choice import Prepared, prepared
from safelight.serving.worker.lanes import _LANES, Lanes
from tests.serving.conftest import until
from tests.serving.prepared import an_order


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.close()


def a_job(name: str) -> Prepared:
    return prepared(an_order(name), 1, lambda: 0.0)


class Image:
    """An image of so many pixels, which stays in its thread until `end`."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.begun, self.end, self.done = (threading.Event() for _ in range(3))

    def decode(self, at_most: float) -> None:
        if self.pixels > at_most:
            raise Larger(self.pixels)
        self.begun.set()
        assert self.end.wait(10)
        self.done.set()


def test_small_images_are_decoded_while_large_ones_fill_their_lanes(lanes: Lanes) -> None:
    large = [Image(40_000_000) for _ in range(5)] + [Image(10_000_000) for _ in range(5)]
    for number, image in enumerate(large):
        lanes.submit(a_job(f"large {number}"), image.decode)
    assert until(lambda: sum(image.begun.is_set() for image in large) == 3, 10)
    small = Image(1_000_000)
    small.end.set()

    lanes.submit(a_job("small"), small.decode)

    assert small.done.wait(10)
    assert not any(image.done.is_set() for image in large)
    for image in large:
        image.end.set()
    assert all(image.done.wait(10) for image in large)


def test_only_one_of_the_largest_images_is_decoded_at_a_time(lanes: Lanes) -> None:
    first, second = Image(40_000_000), Image(40_000_000)
    lanes.submit(a_job("first"), first.decode)
    assert first.begun.wait(10)
    lanes.submit(a_job("second"), second.decode)
    assert not second.begun.is_set()
    first.end.set()
    assert second.begun.wait(10)
    second.end.set()
    assert _LANES[-1] == (inf, 1)


def test_a_withdrawn_job_is_returned_once_and_never_decoded(lanes: Lanes) -> None:
    first, second = Image(40_000_000), Image(40_000_000)
    job = a_job("second")
    lanes.submit(a_job("first"), first.decode)
    assert first.begun.wait(10)
    lanes.submit(job, second.decode)
    withdrawn: list[Prepared | None] = []

    def is_withdrawn() -> bool:  # it cannot be withdrawn while a thread reads its header
        withdrawn[:] = [lanes.withdraw("second")]
        return withdrawn != [None]

    assert until(is_withdrawn, 10)
    assert withdrawn == [job]
    assert lanes.withdraw("second") is None
    assert lanes.withdraw("first") is None
    first.end.set()
    assert first.done.wait(10)
    assert not second.begun.is_set()
