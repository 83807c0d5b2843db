"""How much an edit left of its picture."""

from collections.abc import Callable
from time import thread_time
from typing import Any

import numpy
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import KINDS, EditKind, pair_of
from safelight.quality.instructions import load_taxonomy
from safelight.quality.structure import compare, kept, similarity

CHANCE = numpy.random.default_rng(3)
TAXONOMY = load_taxonomy()
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
Pixels = Any


def blended(pixels: Pixels) -> Pixels:
    noise = CHANCE.integers(0, 256, pixels.shape)
    return ((pixels + noise) / 2).astype("uint8")


def shuffled(pixels: Pixels) -> Pixels:
    side = pixels.shape[0] // 8
    rows = pixels.reshape(8, side, 8, side, 3).swapaxes(1, 2).reshape(64, side, side, 3)
    mixed = CHANCE.permutation(rows).reshape(8, 8, side, side, 3)
    return mixed.swapaxes(1, 2).reshape(pixels.shape)


def blank(pixels: Pixels) -> Pixels:
    return numpy.broadcast_to(pixels[0, 0], pixels.shape).copy()


def another(_pixels: Pixels) -> Pixels:
    return numpy.asarray(paint(draw(int(CHANCE.integers(90_000_000, 91_000_000)))))


# What destroys a picture, and the least share that must be noticed, over all kinds of edits; the
# bare wall, and another person of the painted world before it, have much in common with the first.
DESTROYED: list[tuple[Callable[[Pixels], Pixels], float]] = [
    (blended, 1.0),
    (shuffled, 0.99),
    (blank, 0.85),
    (another, 0.85),
]


def pixels_of(picture: Image.Image) -> Pixels:
    return numpy.asarray(picture)


@every_kind
def test_p2_the_edit_as_it_should_be_keeps_what_its_type_must_keep(kind: EditKind) -> None:
    for seed in range(12):
        pair = pair_of(kind, 62_000_000 + seed)
        floor = TAXONOMY.keeps(TAXONOMY.classify(pair.instruction), 0.1)
        assert kept(paint(pair.before), pixels_of(paint(pair.after))) >= floor


@pytest.mark.parametrize(
    ("destroy", "least"), DESTROYED, ids=[each.__name__ for each, _ in DESTROYED]
)
def test_p2_a_destroyed_picture_is_noticed_whatever_was_asked(
    destroy: Callable[[Pixels], Pixels], least: float
) -> None:
    noticed = []
    for kind in KINDS:
        for seed in range(12):
            pair = pair_of(kind, 63_000_000 + seed)
            floor = TAXONOMY.keeps(
                TAXONOMY.classify(kind.wordings[0].format(they="he", them="him", their="his")), 0.1
            )
            made = destroy(pixels_of(paint(pair.after)))
            noticed.append(kept(paint(pair.before), made) < floor)
    assert sum(noticed) / len(noticed) >= least


def test_the_same_picture_is_kept_whole() -> None:
    picture = paint(draw(1))
    same = compare(picture, pixels_of(picture))
    assert kept(picture, pixels_of(picture)) == 1
    assert same.structure == pytest.approx(1)
    assert (same.edges, same.changed) == (1, 0)


def test_half_a_picture_changed_is_half_of_it() -> None:
    picture = paint(draw(1))
    pixels = pixels_of(picture).copy()
    pixels[:, :32] = 255 - pixels[:, :32]
    found = compare(picture, pixels)
    assert found.changed == pytest.approx(0.5, abs=0.1)
    assert kept(picture, pixels) == pytest.approx(0.45, abs=0.1)


def test_the_similarity_is_that_of_scikit_image() -> None:
    one, other = (pixels_of(paint(draw(seed)).convert("L")).astype("float32") for seed in (1, 2))
    _, whole = structural_similarity(  # type: ignore[no-untyped-call]
        one, other, win_size=7, data_range=255, use_sample_covariance=False, full=True
    )
    assert similarity(one, other) == pytest.approx(whole[3:-3, 3:-3], abs=5e-4)


@pytest.mark.parametrize("size", [(64, 64), (512, 384), (60, 3), (3, 60), (1, 1)])
def test_a_picture_of_any_shape_can_be_compared(size: tuple[int, int]) -> None:
    picture = paint(draw(1)).resize(size)
    assert kept(picture, pixels_of(picture)) == 1
    assert compare(picture, pixels_of(picture)).changed == 0


def test_an_output_whose_side_was_rounded_down_is_still_the_same() -> None:
    picture = paint(draw(1)).resize((515, 514), Image.Resampling.BICUBIC)
    made = pixels_of(picture.resize((512, 512), Image.Resampling.BICUBIC))
    assert kept(picture, made) > 0.95


def test_every_edit_can_be_checked_in_a_moment() -> None:
    picture = paint(draw(1))
    pixels = pixels_of(picture)

    def seconds() -> float:
        began = thread_time()
        kept(picture, pixels)
        return thread_time() - began

    assert min(seconds() for _ in range(20)) <= 0.001
