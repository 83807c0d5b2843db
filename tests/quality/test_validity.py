"""Whether an image is fit to be sent."""

from io import BytesIO
from typing import Any

import numpy
import pytest
from PIL import Image

from safelight.metrics.catalog import INVALIDITY
from safelight.quality.validity import invalidity
from safelight.stack.samples import photo

WANTED = (64, 48)


def grey(level: int, size: tuple[int, int] = WANTED) -> Any:
    return numpy.full((size[1], size[0], 3), level, "uint8")


def noise(size: tuple[int, int] = WANTED, below: int = 256) -> Any:
    return numpy.random.default_rng(0).integers(0, below, (size[1], size[0], 3), "uint8")


def halves(dark: int, bright: int) -> Any:
    pixels = grey(dark)
    pixels[:, WANTED[0] // 2 :] = bright
    return pixels


def judged(pixels: Any, wanted: tuple[int, int] = WANTED) -> str | None:
    return invalidity(pixels, wanted, finite=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_photograph_is_fit_to_be_sent(seed: int) -> None:
    with Image.open(BytesIO(photo(128, 96, seed))) as image:
        assert judged(numpy.asarray(image), (128, 96)) is None


@pytest.mark.parametrize(
    "pixels", [noise(), halves(0, 255), halves(100, 104), noise(below=12)], ids=range(4)
)
def test_a_picture_on_which_there_is_something_is_fit(pixels: Any) -> None:
    assert judged(pixels) is None


@pytest.mark.parametrize("pixels", [noise(), grey(0), grey(9, (1, 1))], ids=range(3))
def test_numbers_that_were_not_finite_are_the_first_thing_told(pixels: Any) -> None:
    assert invalidity(pixels, WANTED, finite=False) == "not_finite"


@pytest.mark.parametrize("pixels", [grey(0), grey(8), noise(below=9)], ids=range(3))
def test_a_picture_with_no_bright_pixel_is_black(pixels: Any) -> None:
    assert judged(pixels) == "black"


def test_one_bright_pixel_is_not_black() -> None:
    pixels = grey(0)
    pixels[10, 10, 2] = 9

    assert judged(pixels) != "black"


@pytest.mark.parametrize("pixels", [grey(9), grey(128), grey(255), halves(100, 101)], ids=range(4))
def test_a_picture_on_which_there_is_nothing_is_flat(pixels: Any) -> None:
    assert judged(pixels) == "flat"


@pytest.mark.parametrize(
    ("made", "right"),
    [
        ((64, 48), True),
        ((57, 48), True),
        ((64, 41), True),
        ((56, 48), False),
        ((64, 40), False),
        ((65, 48), False),
        ((64, 49), False),
        ((48, 64), False),
        ((32, 24), False),
    ],
)
def test_only_what_rounding_takes_may_be_missing(made: tuple[int, int], right: bool) -> None:
    assert judged(noise(made)) == (None if right else "wrong_size")


@pytest.mark.parametrize("side", range(64, 81))
def test_whatever_a_pipeline_rounds_down_to_eights_is_right(side: int) -> None:
    assert judged(noise((side // 8 * 8, 64)), (side, 64)) is None


def test_a_wrong_size_is_told_before_what_is_to_be_seen() -> None:
    assert judged(grey(0, (8, 8))) == "wrong_size"


@pytest.mark.parametrize("pixels", [noise(), grey(0), grey(99), grey(0, (8, 8))], ids=range(4))
@pytest.mark.parametrize("finite", [True, False])
def test_every_verdict_has_a_series_of_its_own(pixels: Any, finite: bool) -> None:
    verdict = invalidity(pixels, WANTED, finite=finite)

    assert verdict is None or verdict in (INVALIDITY.values or ())


def test_looking_at_a_picture_does_not_change_it() -> None:
    pixels = noise()
    before = pixels.copy()
    pixels.flags.writeable = False

    judged(pixels)

    assert numpy.array_equal(pixels, before)
