"""Two outputs for one job, measured in a worker."""

import socket
from collections.abc import Iterator
from io import BytesIO

import numpy
import pytest
from PIL import Image

from safelight.guard.pairs import Qualities
from safelight.models.adherence import Judge
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.serving.wire.protocol import Channel
from safelight.serving.wire.schema import Compared
from safelight.serving.worker.appraisal import NO_SAMPLING, Sampling
from safelight.serving.worker.likeness import Likeness, distance
from tests.serving.prepared import an_order, edit_task


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PORTRAIT = paint(draw(1)).resize((64, 64))
GREY = Image.new("RGB", (64, 64), "grey")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    first, second = Channel(one), Channel(other)
    yield first, second
    first.close()
    second.close()


def answered(
    ends: tuple[Channel, Channel], first: bytes, second: bytes, *, thumbnails: bool = False
) -> tuple[Compared, bytes]:
    judge: Judge = lambda _work, pixels: float(pixels.mean() / 255)  # noqa: E731
    likeness = Likeness(ends[0], Sampling(1.0, thumbnails, judge), 1_000_000)
    likeness.offer(an_order("7", edit_task()), (png(PORTRAIT), first, second))
    message = ends[1].receive()
    likeness.close()
    assert message is not None
    assert isinstance(message.content, Compared)
    [image] = message.payloads
    return message.content, bytes(image)


def compared(ends: tuple[Channel, Channel], first: bytes, second: bytes) -> Compared:
    return answered(ends, first, second)[0]


def test_a_thumbnail_of_the_second_output_comes_along_only_if_samples_are_kept(
    ends: tuple[Channel, Channel],
) -> None:
    large = png(GREY.resize((512, 256)))
    assert answered(ends, png(PORTRAIT), large)[1] == b""
    _, image = answered(ends, png(PORTRAIT), large, thumbnails=True)
    with Image.open(BytesIO(image)) as small:
        assert (small.format, small.size) == ("JPEG", (128, 64))
    assert answered(ends, png(PORTRAIT), b"no image", thumbnails=True)[1] == b""


def test_equal_outputs_have_no_distance_and_equal_qualities(ends: tuple[Channel, Channel]) -> None:
    found = compared(ends, png(PORTRAIT), png(PORTRAIT))
    assert found.id == "7"
    assert found.distance == 0
    assert found.first == found.second
    assert found.first.structure == pytest.approx(1.0)


def test_a_grey_output_keeps_no_structure_and_follows_the_prompt_by_the_judge(
    ends: tuple[Channel, Channel],
) -> None:
    found = compared(ends, png(PORTRAIT), png(GREY))
    assert found.first.structure is not None
    assert found.second.structure is not None
    assert found.second.structure < found.first.structure - 0.3
    assert found.second.adherence == pytest.approx(128 / 255)
    assert found.distance is not None
    assert found.distance > 0.1


def test_an_output_that_cannot_be_read_is_unknown_and_no_failure(
    ends: tuple[Channel, Channel],
) -> None:
    found = compared(ends, png(PORTRAIT), b"no image")
    assert found == Compared("7", Qualities(), Qualities(), None)


def test_a_closed_one_takes_nothing_more(ends: tuple[Channel, Channel]) -> None:
    likeness = Likeness(ends[0], NO_SAMPLING, 1_000_000)
    likeness.close()
    likeness.offer(an_order("7", edit_task()), (b"", b"", b""))


def test_the_distance_is_that_of_the_colours_at_any_size() -> None:
    black = numpy.zeros((512, 512, 3), "uint8")
    white = numpy.full((64, 64, 3), 255, "uint8")
    assert distance(black, white) == 1.0
    assert distance(white, white) == 0.0
