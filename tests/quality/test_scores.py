"""A worse picture has a worse score: over portraits, photographs and every way to spoil them."""

from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy
import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageFilter

from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.scores import Scores, score

PORTRAITS = [paint(draw(60_000_000 + seed)) for seed in range(40)]
PHOTOS = [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "coffee", "cat")]
Spoil = Callable[[Image.Image, float], Image.Image]


def blurred(picture: Image.Image, pixels: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(pixels))


def noisy(picture: Image.Image, levels: float) -> Image.Image:
    grain = numpy.random.default_rng(0).normal(0, levels, (picture.height, picture.width, 3))
    return Image.fromarray((numpy.asarray(picture) + grain).clip(0, 255).astype("uint8"))


def dark(picture: Image.Image, share: float) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1 - share)


def washed(picture: Image.Image, share: float) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance(1 - share)


def pale(picture: Image.Image, share: float) -> Image.Image:
    return ImageEnhance.Color(picture).enhance(1 - share)


# How to spoil a picture, a little and more and more, and the part of the score that must tell it.
SPOILT: list[tuple[Spoil, tuple[float, ...], str]] = [
    (blurred, (1, 2, 4), "sharpness"),
    (noisy, (10, 20, 40), "cleanness"),
    (dark, (0.5, 0.7, 0.9), "exposure"),
    (washed, (0.5, 0.7, 0.9), "exposure"),
    (pale, (0.5, 0.8, 1), "colourfulness"),
]
each_way = pytest.mark.parametrize(
    ("spoil", "amounts", "part"), SPOILT, ids=[spoil.__name__ for spoil, _, _ in SPOILT]
)


def of(picture: Image.Image) -> Scores:
    return score(numpy.asarray(picture.convert("RGB")))


@each_way
@pytest.mark.parametrize("pictures", [PORTRAITS, PHOTOS], ids=["portraits", "photographs"])
def test_the_more_a_picture_is_spoilt_the_less_it_scores(
    spoil: Spoil, amounts: tuple[float, ...], part: str, pictures: list[Image.Image]
) -> None:
    worse = 0
    for picture in pictures:
        scores = [of(picture), *(of(spoil(picture, amount)) for amount in amounts)]
        falling = [one.score for one in scores]
        assert falling[-1] < falling[0] - 0.02
        parts = [getattr(one, part) for one in scores]
        assert parts[-1] < parts[0]
        worse += falling == sorted(falling, reverse=True)
    assert worse >= 0.95 * len(pictures)


@pytest.mark.parametrize("picture", [*PORTRAITS[:10], *PHOTOS])
def test_every_part_and_the_whole_lie_between_nothing_and_one(picture: Image.Image) -> None:
    for spoil, amounts, _ in SPOILT:
        found = of(spoil(picture, amounts[-1]))
        parts = (found.sharpness, found.exposure, found.colourfulness, found.cleanness)
        assert all(0 <= part <= 1 for part in (*parts, found.score))


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (2, 300), (64, 64)])
def test_a_picture_on_which_nothing_is_scores_nothing(level: int, size: tuple[int, int]) -> None:
    assert of(Image.new("RGB", size, (level, level, level))).score == 0


def test_the_same_picture_at_twice_the_size_looks_much_the_same() -> None:
    for photo in PHOTOS[:2]:
        half = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.BOX)
        assert of(photo).score == pytest.approx(of(half).score, abs=0.06)


def test_colourfulness_is_what_its_authors_call_moderate_at_one_half() -> None:
    # M of Hasler and Süsstrunk 2003, by hand: half of the pixels are red, the others grey.
    pixels = numpy.full((10, 10, 3), 100, "uint8")
    pixels[:5, :, 0] = 140
    rg, yb = (20.0, 20.0), (10.0, 10.0)  # mean and deviation of each
    m = (rg[1] ** 2 + yb[1] ** 2) ** 0.5 + 0.3 * (rg[0] ** 2 + yb[0] ** 2) ** 0.5
    assert score(pixels).colourfulness == pytest.approx(m / (m + 33))


def test_noise_is_told_in_grey_levels() -> None:
    for levels in (5.0, 15.0, 30.0):
        grey = numpy.random.default_rng(1).normal(128, levels, (200, 200, 1)).clip(0, 255)
        clean = score(numpy.repeat(grey.astype("uint8"), 3, axis=2)).cleanness
        assert 12 / clean - 12 == pytest.approx(levels, rel=0.08)


def test_the_size_of_a_picture_bounds_what_it_costs() -> None:
    costs = []
    for side in (256, 2048):
        pixels: Any = numpy.asarray(PHOTOS[0].resize((side, side)))
        began = thread_time()
        score(pixels)
        costs.append(thread_time() - began)
    assert costs[1] < costs[0] + 0.1
