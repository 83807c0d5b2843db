"""Measure the quality of the demo models on unseen portraits.

The tagger judges the other models: it was trained separately, on other seeds. The painter's
attributes judge the tagger.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from skimage.metrics import structural_similarity
from sklearn.metrics import average_precision_score

from safelight.models.backend import Backend, Generation, Labels, MadeImage, Recognition, Work
from safelight.models.demo.painter import SIDE, paint
from safelight.models.demo.portrait import TAGS, Portrait, draw
from safelight.models.demo.sheet import as_edit
from safelight.models.demo.wording import EditKind, Pair, caption, pair_of

HELD_OUT = 50_000_000
_GENERATED = 51_000_000
_BATCH = 16
_CHANGED = 12  # grey levels
_NEAR = 4  # pixels around a change that count as changed
_WINDOW = 7  # Wang et al. 2004

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Edited:
    """The quality of one kind of edit: ratios from 0 to 1, and a structural similarity."""

    kind: str
    found: float
    others_kept: float
    similarity: float


def judge_tagger(tagger: Backend, number: int) -> float:
    """Return the mean average precision over the tags, on held-out portraits."""
    people = [draw(HELD_OUT + seed) for seed in range(number)]
    scores = _scores(tagger, [_pixels(person) for person in people])
    return float(average_precision_score(_tags(people), scores, average="macro"))


def judge_edit(
    editor: Backend, tagger: Backend, kind: EditKind, number: int
) -> tuple[Edited, list[Pixels]]:
    """Return the quality of a kind of edit with the editor's defaults, and the images."""
    pairs = [pair_of(kind, HELD_OUT + seed) for seed in range(number)]
    images = edit_all(editor, pairs)
    detected = _scores(tagger, images) > 0.5
    before, after = _tags([pair.before for pair in pairs]), _tags([pair.after for pair in pairs])
    requested, correct = before != after, detected == after
    similarities = [
        _similarity_outside(pair, image) for pair, image in zip(pairs, images, strict=True)
    ]
    found = (correct | ~requested).all(1).mean()
    kept = correct[~requested].mean()
    return Edited(kind.name, float(found), float(kept), float(np.mean(similarities))), images


def judge_generation(
    generator: Backend, tagger: Backend, number: int
) -> tuple[float, float, list[Pixels]]:
    """Return the ratios of requested attributes found and others absent, and the images."""
    people = [draw(_GENERATED + seed) for seed in range(number)]
    chance, defaults = random.Random(_GENERATED), generator.info.defaults
    works = [
        Generation(
            (SIDE, SIDE),
            caption(person, chance),
            "",
            int(defaults["steps"]),
            defaults["guidance_scale"],
            seed,
        )
        for seed, person in enumerate(people)
    ]
    images = _images(generator, works)
    detected, requested = _scores(tagger, images) > 0.5, _tags(people)
    found, absent = detected[requested].mean(), (~detected[~requested]).mean()
    return float(found), float(absent), images


def portraits(number: int) -> Iterator[Pixels]:
    """Yield painted held-out portraits."""
    return (_pixels(draw(HELD_OUT + seed)) for seed in range(number))


def edit_all(editor: Backend, pairs: Sequence[Pair]) -> list[Pixels]:
    """Return the edits of each pair's portrait with the editor's defaults."""
    return _images(editor, [as_edit(editor, pair, seed) for seed, pair in enumerate(pairs)])


def _images(backend: Backend, works: Sequence[Work]) -> list[Pixels]:
    results = _in_batches(backend, works)
    return [result.pixels for result in results if isinstance(result, MadeImage)]


def _scores(tagger: Backend, images: Sequence[Pixels]) -> Pixels:
    """Return the tagger's score of each tag, of shape (n, tags)."""
    from PIL import Image

    works = [Recognition(Image.fromarray(pixels), top=len(TAGS)) for pixels in images]
    results = (labels for labels in _in_batches(tagger, works) if isinstance(labels, Labels))
    rows = [dict(labels.scores) for labels in results]
    return np.array([[scores[tag] for tag in TAGS] for scores in rows])


def _in_batches(backend: Backend, works: Sequence[Work]) -> Iterator[Any]:
    silent: Callable[[int, Any], None] = lambda _step, _latents: None  # noqa: E731
    for start in range(0, len(works), _BATCH):
        yield from backend.run(works[start : start + _BATCH], silent)


def _tags(people: Sequence[Portrait]) -> Pixels:
    """Return the true tags, of shape (n, tags)."""
    return np.array([[tag in person.tags for tag in TAGS] for person in people])


def _similarity_outside(pair: Pair, edited: Pixels) -> float:
    """Return the structural similarity to the original outside the requested change."""
    before, after = _pixels(pair.before), _pixels(pair.after)
    changed = (abs(before.astype(int) - after) > _CHANGED).any(axis=2)
    outside = ~_dilated(changed, _NEAR)
    if not outside.any():
        return 1.0
    _, similarity = structural_similarity(
        before, edited, win_size=_WINDOW, channel_axis=2, data_range=255, full=True
    )
    return float(similarity[outside].mean())


def _dilated(mask: Pixels, pixels: int) -> Pixels:
    """Return a mask that also covers the pixels around it."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=pixels))


def _pixels(person: Portrait) -> Pixels:
    return np.asarray(paint(person))
