"""How busy a background is, in bits whose threshold can be reached."""

from time import thread_time

import numpy
import pytest
from PIL import Image

from safelight.models.demo.clutter import CLUTTER
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.entropy import MAX_BITS, background_entropy
from safelight.settings import load

LIMIT = load().background_entropy_limit_bits


def noise(side: int) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (side, side, 3), "uint8"))


def test_one_colour_has_no_bits() -> None:
    assert background_entropy(Image.new("RGB", (300, 200), "teal")) == 0


def test_two_colours_in_equal_parts_have_one_bit() -> None:
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste("black", (0, 0, 64, 128))
    assert background_entropy(picture) == pytest.approx(1)


def test_only_what_is_around_the_middle_counts() -> None:
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste(noise(64), (32, 32))
    assert background_entropy(picture) < 1.5
    assert background_entropy(noise(128)) > 11


def test_p14_the_limit_can_be_reached_and_so_nearly_can_the_end_of_the_scale() -> None:
    assert LIMIT < background_entropy(noise(512)) <= MAX_BITS
    assert background_entropy(noise(512)) > MAX_BITS - 0.5


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_p14_the_painted_worlds_own_backgrounds_are_calm(seed: int) -> None:
    assert background_entropy(paint(draw(64_000_000 + seed))) < LIMIT - 1.5


@pytest.mark.parametrize("clutter", CLUTTER)
def test_p14_shelves_crowds_and_confetti_are_busy(clutter: str) -> None:
    for seed in range(15):
        assert background_entropy(paint(draw(seed), CLUTTER[clutter])) > LIMIT


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (64, 48), (3000, 20)])
def test_a_picture_of_any_shape_has_an_entropy(size: tuple[int, int]) -> None:
    assert 0 <= background_entropy(noise(64).resize(size)) <= MAX_BITS


@pytest.mark.parametrize("side", [64, 1024, 4096])
def test_p14_every_input_is_measured_in_three_milliseconds(side: int) -> None:
    picture = noise(64).resize((side, side), Image.Resampling.NEAREST)

    def seconds() -> float:
        began = thread_time()
        background_entropy(picture)
        return thread_time() - began

    assert min(seconds() for _ in range(10)) <= 0.003
