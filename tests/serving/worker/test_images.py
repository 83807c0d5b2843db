"""Between a message's bytes, a model's picture, and the PNG that is sent."""

from io import BytesIO
from typing import Any

import numpy
import pytest
from PIL import Image

from safelight.errors import ImageDamaged, ImageTooLarge, NotAnImage
from safelight.models.backend import Edit, Generation, Recognition
from safelight.serving.wire.schema import EditTask, GenerateTask, PredictTask
from safelight.serving.worker.images import as_work, encoded
from safelight.stack.tools.samples import photo
from tests.serving.prepared import an_order, edit_task

EDIT = edit_task(steps=2)
GENERATE = GenerateTask("a cat", "", 2, 0.0, 1)
LIMIT_PIXELS = 1_000_000


def noise(width: int, height: int) -> Any:
    return numpy.random.default_rng(0).integers(0, 256, (height, width, 3), "uint8")


def opened(png: bytes) -> Image.Image:
    image = Image.open(BytesIO(png))
    assert image.format == "PNG"
    return image


@pytest.mark.parametrize("size", [(64, 48), (160, 120), (200, 64)])
def test_the_image_of_an_edit_is_decoded_at_the_working_size(size: tuple[int, int]) -> None:
    work, sample = as_work(an_order(task=EDIT, size=size), photo(160, 120), LIMIT_PIXELS)

    assert isinstance(work, Edit)
    assert sample is not None
    assert sample.size == (128, 96)
    assert (work.image.size, work.image.mode) == (size, "RGB")
    assert (work.instruction, work.steps, work.seed) == ("make him old", 2, 1)
    assert (work.guidance_scale, work.image_guidance_scale) == (7.5, 1.5)


def test_a_generation_needs_no_image() -> None:
    work, _ = as_work(an_order(task=GENERATE, size=(64, 32)), b"", LIMIT_PIXELS)

    assert work == Generation((64, 32), "a cat", "", 2, 0.0, 1)


@pytest.mark.parametrize(
    ("sent", "seen"), [((160, 120), (80, 60)), ((60, 160), (30, 80)), ((40, 20), (40, 20))]
)
def test_the_image_of_a_recognition_is_reduced_to_the_side(
    sent: tuple[int, int], seen: tuple[int, int]
) -> None:
    work, _ = as_work(an_order(task=PredictTask(3), size=(80, 80)), photo(*sent), LIMIT_PIXELS)

    assert isinstance(work, Recognition)
    assert (work.image.size, work.image.mode, work.top) == (seen, "RGB", 3)


def test_the_image_of_a_recognition_is_measured_before_it_is_decoded() -> None:
    order = an_order(task=PredictTask(3), size=(80, 80))

    as_work(order, photo(160, 120), 160 * 120)
    with pytest.raises(ImageTooLarge, match="160 x 120"):
        as_work(order, photo(160, 120), 160 * 120 - 1)


@pytest.mark.parametrize("task", [EDIT, PredictTask(1)])
def test_bytes_that_are_not_an_image_and_damaged_images_have_different_errors(
    task: EditTask | PredictTask,
) -> None:
    order = an_order(task=task)

    with pytest.raises(NotAnImage):
        as_work(order, b"text", LIMIT_PIXELS)
    with pytest.raises(NotAnImage):
        as_work(order, b"", LIMIT_PIXELS)
    with pytest.raises(ImageDamaged):
        as_work(order, photo(160, 120)[:1500], LIMIT_PIXELS)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (9, 200)])
def test_not_a_pixel_changes_on_its_way_into_the_png(size: tuple[int, int]) -> None:
    pixels = noise(*size)

    image = opened(encoded(pixels, size))

    assert (image.size, image.mode) == (size, "RGB")
    assert numpy.array_equal(numpy.asarray(image), pixels)


def test_an_image_that_was_rounded_down_is_enlarged_to_the_requested_size() -> None:
    pixels = numpy.zeros((48, 64, 3), "uint8")
    pixels[:, 32:] = 255

    image = opened(encoded(pixels, (70, 50)))

    assert image.size == (70, 50)
    assert image.getpixel((2, 25)) == (0, 0, 0)
    assert image.getpixel((67, 25)) == (255, 255, 255)
