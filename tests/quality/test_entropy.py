"""How busy a background is, in bits whose threshold can be reached."""

from collections.abc import Callable
from functools import partial
from time import thread_time

import numpy
import pytest
from numpy.typing import NDArray
from PIL import Image

from safelight.models.demo.clutter import CLUTTER
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.entropy import MAX_BITS, background_entropy
from safelight.quality.images import decode, decode_and_sample, sample
from safelight.settings import load
from tests.quality.pictures import saved

LIMIT = load().background_entropy_limit_bits
SIDES = (64, 256, 512, 1024, 2048)
FORMS = {
    "PNG": partial(saved, form="PNG", compress_level=0),
    "JPEG": partial(saved, form="JPEG", quality=85),
    "a poor JPEG": partial(saved, form="JPEG", quality=70),
}
Pixels = NDArray[numpy.float64]
"""Shape (side, side, 3)."""


def noise(side: int) -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (side, side, 3), "uint8"))


def patches(side: int, patch: int, channels: int = 3) -> Pixels:
    """Return squares of `patch` pixels, each of a colour of its own."""
    count = -(-side // patch)
    colours = numpy.random.default_rng(1).integers(0, 256, (count, count, channels))
    pixels = colours.repeat(patch, 0).repeat(patch, 1)[:side, :side]
    return numpy.broadcast_to(pixels, (side, side, 3)).astype(float)


def gaussian(side: int, deviation: float, channels: int = 3) -> Pixels:
    added = numpy.random.default_rng(2).normal(0, deviation, (side, side, channels))
    return numpy.broadcast_to(128 + added, (side, side, 3))


def painted(side: int, clutter: str | None = None) -> Pixels:
    """Return a scene of the painted world, enlarged."""
    image = paint(draw(7), CLUTTER[clutter]) if clutter else paint(draw(64_000_007))
    return numpy.asarray(image.resize((side, side), Image.Resampling.BICUBIC)).astype(float)


def grid(side: int) -> tuple[Pixels, Pixels]:
    """Return the place of each pixel from the top and from the left, -1 to 1."""
    row, column = numpy.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return row[..., None], column[..., None]


def gradient(side: int, first: tuple[int, ...], last: tuple[int, ...]) -> Pixels:
    row, column = grid(side)
    share = (row + column) / 4 + 0.5
    pixels: Pixels = numpy.array(first) * (1 - share) + numpy.array(last) * share
    return pixels


def two_gradients(side: int) -> Pixels:
    row, column = grid(side)
    return numpy.concatenate([127 + 127 * row, 127 + 127 * column, 0 * row + 128], axis=2)


def vignette(side: int) -> Pixels:
    row, column = grid(side)
    pixels: Pixels = numpy.array((200, 180, 160)) * (1 - 0.4 * (row**2 + column**2))
    return pixels


def sky(side: int) -> Pixels:
    clouds = Image.fromarray(numpy.random.default_rng(3).integers(0, 80, (6, 6), "uint8"))
    soft = numpy.asarray(clouds.resize((side, side), Image.Resampling.BICUBIC))[..., None]
    pixels: Pixels = gradient(side, (90, 140, 200), (170, 180, 220)) + soft
    return pixels


def checkerboard(side: int, square: int) -> Pixels:
    row, column = numpy.mgrid[:side, :side] // square
    return numpy.repeat(((row + column) % 2 * 255.0)[..., None], 3, axis=2)


def grained(pixels: Callable[[int], Pixels], side: int) -> Pixels:
    """Return pixels with the grain of a film, sigma 3."""
    return pixels(side) + numpy.random.default_rng(4).normal(0, 3, (side, side, 3))


def confetti(side: int, channels: int = 3) -> Pixels:
    return patches(side, max(2, side // 48), channels)


BUSY: dict[str, Callable[[int], Pixels]] = {
    "noise": partial(patches, patch=1),
    "noise of two pixels": partial(patches, patch=2),
    "noise of four pixels": partial(patches, patch=4),
    "grey noise": partial(patches, patch=1, channels=1),
    "grey noise of two pixels": partial(patches, patch=2, channels=1),
    "normal noise": partial(gaussian, deviation=40),
    "normal grey noise": partial(gaussian, deviation=40, channels=1),
    "confetti": confetti,
    "grey confetti": partial(confetti, channels=1),
    **{f"painted {name}": partial(painted, clutter=name) for name in CLUTTER},
}
CALM: dict[str, Callable[[int], Pixels]] = {
    "one colour": lambda side: numpy.full((side, side, 3), (128.0, 144.0, 160.0)),
    "a backdrop": partial(gradient, first=(240, 230, 210), last=(120, 140, 170)),
    "black to white": partial(gradient, first=(0, 0, 0), last=(255, 255, 255)),
    "two gradients of all levels": two_gradients,
    "a vignette": vignette,
    "a sky": sky,
    "a painted wall": painted,
    "light noise": partial(gaussian, deviation=8),
    "a fine checkerboard": partial(checkerboard, square=1),
    "a coarse checkerboard": partial(checkerboard, square=16),
}
CALM |= {
    f"{name}, grained": partial(grained, CALM[name])
    for name in ("one colour", "a backdrop", "black to white", "a vignette", "a sky")
}


def bits(kind: Callable[[int], Pixels], form: str) -> dict[int, float]:
    """Return, by the file's side, the entropy that the worker finds for a model of 64 pixels."""
    found = {}
    for side in SIDES:
        content = file_of(kind(side), form)
        decoded, seen = decode_and_sample(content, (64, 64))
        assert decoded.size == (64, 64)
        found[side] = background_entropy(seen)
    return found


def file_of(pixels: Pixels, form: str) -> bytes:
    return FORMS[form](Image.fromarray(pixels.clip(0, 255).astype("uint8")))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BUSY)
def test_p14_a_busy_background_is_busy_at_every_size(kind: str, form: str) -> None:
    found = bits(BUSY[kind], form)
    assert min(found.values()) > LIMIT, found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", CALM)
def test_p14_a_calm_background_is_calm_at_every_size(kind: str, form: str) -> None:
    found = bits(CALM[kind], form)
    assert max(found.values()) < LIMIT - 0.5, found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BUSY)
def test_p14_the_size_at_which_the_model_works_changes_nothing(kind: str, form: str) -> None:
    content = file_of(BUSY[kind](1024), form)
    seen = {decode_and_sample(content, (side, side))[1].tobytes() for side in (64, 512, 1024)}
    assert seen == {sample(content, (64, 64)).tobytes()}, "nor does a check without an edit"


@pytest.mark.parametrize("side", [2304, 4000])
def test_a_larger_jpeg_is_decoded_in_part_and_coarser_noise_is_found(side: int) -> None:
    content = file_of(patches(side, 16), "JPEG")
    assert background_entropy(sample(content, (64, 64))) > LIMIT


def test_one_colour_has_no_bits() -> None:
    assert background_entropy(Image.new("RGB", (300, 200), "teal")) == 0


def test_only_what_differs_from_its_surroundings_counts() -> None:
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste("black", (0, 0, 64, 128))
    assert 0 < background_entropy(picture) < 0.5, "an edge, and two colours"


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
    assert background_entropy(paint(draw(64_000_000 + seed))) < LIMIT - 1.4


@pytest.mark.parametrize("clutter", CLUTTER)
def test_p14_shelves_crowds_and_confetti_are_busy(clutter: str) -> None:
    for seed in range(15):
        assert background_entropy(paint(draw(seed), CLUTTER[clutter])) > LIMIT


def test_a_file_is_decoded_to_the_same_image_with_a_sample_and_without() -> None:
    content = FORMS["PNG"](noise(300))
    assert decode_and_sample(content, (64, 64))[0].tobytes() == decode(content, (64, 64)).tobytes()


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
