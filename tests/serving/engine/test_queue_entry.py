"""Which jobs may share a batch, and which images take long to decode."""

from dataclasses import replace
from typing import Any

import pytest

from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.stack.tools.samples import photo
from tests.attacks.uploads import png_that_declares
from tests.serving.jobs import a_job

NOBODY: Any = None  # no one awaits these answers


def entry(image: bytes, number: int = 1) -> QueueEntry:
    return QueueEntry(replace(a_job(str(number)), image=image), number, NOBODY)


@pytest.mark.parametrize(
    ("image", "large"),
    [
        (png_that_declares(8000, 5000), True),
        (png_that_declares(1000, 1000), False),
        (photo(64, 64), False),
        (photo(64, 64) + bytes(2_000_000), True),
        (b"", False),
        (b"\x89PNG", False),
    ],
    ids=["40 MP", "1 MP", "small JPEG", "JPEG of 2 MB", "none", "cut off"],
)
def test_an_image_that_takes_long_to_decode_has_a_lane_of_its_own(
    image: bytes, large: bool
) -> None:
    assert entry(image).lane == (entry(photo(64, 64)).key, large)


def test_small_images_are_beside_large_ones_at_the_head_of_the_queue() -> None:
    backlog = Backlog()
    for number in range(20):
        backlog.push(entry(png_that_declares(8000, 5000), number))
    small = entry(photo(64, 64), 99)
    backlog.push(small)
    assert small in backlog.heads()
    assert backlog.take(small.lane, 5) == [small]
