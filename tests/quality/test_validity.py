"""Whether an image is fit to be sent."""

from io import BytesIO
from time import thread_time
from typing import Any

import numpy
import pytest
import skimage.data
from PIL import Image

from safelight.metrics.catalog import INVALIDITY
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.validity import Limits, invalidity, neighbour_correlation
from safelight.stack.tools.samples import photo

WANTED = (64, 48)


def grey(level: int, size: tuple[int, int] = WANTED) -> Any:
    return numpy.full((size[1], size[0], 3), level, "uint8")


def noise(size: tuple[int, int] = WANTED, below: int = 256) -> Any:
    return numpy.random.default_rng(0).integers(0, below, (size[1], size[0], 3), "uint8")


def scene(size: tuple[int, int] = WANTED, brightest: int = 255) -> Any:
    """Return a picture on which something is to be seen: a slope, in three colours."""
    row, column = numpy.mgrid[0 : size[1], 0 : size[0]]
    slope = numpy.stack([row, column, row + column], axis=-1)
    return (slope * brightest // max(1, int(slope.max()))).astype("uint8")


def halves(dark: int, bright: int) -> Any:
    pixels = grey(dark)
    pixels[:, WANTED[0] // 2 :] = bright
    return pixels


def judged(pixels: Any, wanted: tuple[int, int] = WANTED) -> str | None:
    return invalidity(pixels, wanted, Limits(), finite=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_photograph_is_fit_to_be_sent(seed: int) -> None:
    with Image.open(BytesIO(photo(128, 96, seed))) as image:
        assert judged(numpy.asarray(image), (128, 96)) is None


@pytest.mark.parametrize(
    "pixels", [scene(), halves(0, 255), halves(100, 104), scene(brightest=12)], ids=range(4)
)
def test_a_picture_on_which_there_is_something_is_fit(pixels: Any) -> None:
    assert judged(pixels) is None


@pytest.mark.parametrize("pixels", [noise(), grey(0), grey(9, (1, 1))], ids=range(3))
def test_numbers_that_were_not_finite_are_the_first_thing_told(pixels: Any) -> None:
    assert invalidity(pixels, WANTED, Limits(), finite=False) == "not_finite"


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
    assert judged(scene(made)) == (None if right else "wrong_size")


@pytest.mark.parametrize("side", range(64, 81))
def test_whatever_a_pipeline_rounds_down_to_eights_is_right(side: int) -> None:
    assert judged(scene((side // 8 * 8, 64)), (side, 64)) is None


def test_a_wrong_size_is_told_before_what_is_to_be_seen() -> None:
    assert judged(grey(0, (8, 8))) == "wrong_size"


@pytest.mark.parametrize("pixels", [noise(), grey(0), grey(99), grey(0, (8, 8))], ids=range(4))
@pytest.mark.parametrize("finite", [True, False])
def test_every_verdict_has_a_series_of_its_own(pixels: Any, finite: bool) -> None:
    verdict = invalidity(pixels, WANTED, Limits(), finite=finite)

    assert verdict is None or verdict in (INVALIDITY.values or ())


# ── Noise ────────────────────────────────────────────────────────────────────────────────────────

CHANCE = numpy.random.default_rng(1)


def mixed(share: float, seed: int) -> Any:
    """Return a portrait of which a share was replaced by noise."""
    portrait = numpy.asarray(paint(draw(seed))).astype(float)
    return (portrait * (1 - share) + CHANCE.integers(0, 256, portrait.shape) * share).astype(
        "uint8"
    )


def grains(size: tuple[int, int]) -> Any:
    return numpy.clip(CHANCE.normal(128, 30, (size[1], size[0], 3)), 0, 255).astype("uint8")


@pytest.mark.parametrize(
    "pixels",
    [
        noise(),
        noise(below=12),
        noise((512, 512)),
        grains(WANTED),
        grains((512, 384)),
        noise()[..., :1].repeat(3, 2),
        (noise() > 127).astype("uint8") * 255,
    ],
    ids=["even", "dim", "large", "normal", "normal, large", "grey", "black and white"],
)
def test_pixels_that_have_nothing_to_do_with_each_other_are_noise(pixels: Any) -> None:
    assert judged(pixels, (pixels.shape[1], pixels.shape[0])) == "noise"


def test_no_healthy_portrait_of_a_held_out_thousand_is_refused() -> None:
    for seed in range(1000):
        assert judged(numpy.asarray(paint(draw(50_000_000 + seed))), (64, 64)) is None


def test_a_portrait_under_much_noise_is_refused_and_under_a_little_is_not() -> None:
    for seed in range(100):
        assert judged(mixed(0.2, seed), (64, 64)) is None
        assert judged(mixed(0.75, seed), (64, 64)) == "noise"


def test_stripes_and_fine_textures_are_no_noise() -> None:
    stripes = grey(0)
    stripes[:, ::2] = 255
    assert judged(stripes) is None
    for name in ("grass", "gravel", "brick"):
        texture = numpy.stack([getattr(skimage.data, name)()] * 3, axis=-1)
        assert judged(texture, (512, 512)) is None


def test_it_is_the_correlation_of_neighbours() -> None:
    pixels = mixed(0.5, 7)
    along = [
        numpy.corrcoef(pixels[..., channel][:, 1:].ravel(), pixels[..., channel][:, :-1].ravel())
        for channel in range(3)
    ]
    down = [
        numpy.corrcoef(pixels[..., channel][1:].ravel(), pixels[..., channel][:-1].ravel())
        for channel in range(3)
    ]
    known = max(numpy.mean([c[0, 1] for c in way]) for way in (along, down))
    assert neighbour_correlation(pixels) == pytest.approx(known, abs=0.1)


@pytest.mark.parametrize(
    ("pixels", "strict", "lenient"),
    [
        (scene(brightest=20), Limits(black_level=20), Limits(black_level=19)),
        (halves(100, 104), Limits(flat_deviation=3), Limits(flat_deviation=1)),
        (mixed(0.5, 3), Limits(noise_correlation=0.9), Limits(noise_correlation=0)),
        (noise((64, 64)), Limits(), Limits(noise_correlation=0)),
    ],
    ids=["black", "flat", "noise", "off"],
)
def test_every_limit_can_be_set(pixels: Any, strict: Limits, lenient: Limits) -> None:
    size = (pixels.shape[1], pixels.shape[0])
    assert invalidity(pixels, size, strict, finite=True) is not None
    assert invalidity(pixels, size, lenient, finite=True) is None


def test_a_large_picture_is_judged_in_three_milliseconds() -> None:
    pixels = noise((512, 512))
    took = []
    for _ in range(20):
        started = thread_time()
        judged(pixels, (512, 512))
        took.append(thread_time() - started)
    assert min(took) <= 0.003


def test_looking_at_a_picture_does_not_change_it() -> None:
    pixels = scene()
    before = pixels.copy()
    pixels.flags.writeable = False

    judged(pixels)

    assert numpy.array_equal(pixels, before)
