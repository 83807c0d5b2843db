"""What the demo models can do, on people whom none of them saw.

The tagger is the judge: it was trained apart, on other seeds. First it is judged itself, by what
the painter knows.
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
_CHANGED = 12  # grey levels; and whatever is nearer to it than this many pixels
_NEAR = 4
_WINDOW = 7  # Wang et al. 2004

Pixels = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Edited:
    """How well one kind of edit was made: shares of 0 to 1, and a structural similarity."""

    kind: str
    found: float
    others_kept: float
    alike: float


def judge_tagger(tagger: Backend, number: int) -> float:
    """Return the mean over the tags of the average precision on held-out portraits."""
    people = [draw(HELD_OUT + seed) for seed in range(number)]
    scores = _scores(tagger, [_pixels(person) for person in people])
    return float(average_precision_score(_true(people), scores, average="macro"))


def judge_edit(
    editor: Backend, tagger: Backend, kind: EditKind, number: int
) -> tuple[Edited, list[Pixels]]:
    """Return how well a kind of edit is made with the editor's own defaults, and the pictures."""
    pairs = [pair_of(kind, HELD_OUT + seed) for seed in range(number)]
    made = edit_all(editor, pairs)
    seen = _scores(tagger, made) > 0.5
    was, wanted = _true([pair.before for pair in pairs]), _true([pair.after for pair in pairs])
    asked, right = was != wanted, seen == wanted
    alike = [_alike_outside(pair, picture) for pair, picture in zip(pairs, made, strict=True)]
    found = (right | ~asked).all(1).mean()
    kept = right[~asked].mean()
    return Edited(kind.name, float(found), float(kept), float(np.mean(alike))), made


def judge_generation(
    generator: Backend, tagger: Backend, number: int
) -> tuple[float, float, list[Pixels]]:
    """Return the share of asked attributes found, of those not asked absent, and the pictures."""
    people = [draw(_GENERATED + seed) for seed in range(number)]
    chance, asked = random.Random(_GENERATED), generator.info.defaults
    works = [
        Generation(
            (SIDE, SIDE),
            caption(person, chance),
            "",
            int(asked["steps"]),
            asked["guidance_scale"],
            seed,
        )
        for seed, person in enumerate(people)
    ]
    made = _made(generator, works)
    seen, asked_for = _scores(tagger, made) > 0.5, _true(people)
    return float(seen[asked_for].mean()), float((~seen[~asked_for]).mean()), made


def portraits(number: int) -> Iterator[Pixels]:
    """Yield held-out portraits as they are painted."""
    return (_pixels(draw(HELD_OUT + seed)) for seed in range(number))


def edit_all(editor: Backend, pairs: Sequence[Pair]) -> list[Pixels]:
    """Return what an editor makes of each pair's portrait, with its own defaults."""
    return _made(editor, [as_edit(editor, pair, seed) for seed, pair in enumerate(pairs)])


def _made(backend: Backend, works: Sequence[Work]) -> list[Pixels]:
    made = _in_batches(backend, works)
    return [picture.pixels for picture in made if isinstance(picture, MadeImage)]


def _scores(tagger: Backend, pictures: Sequence[Pixels]) -> Pixels:
    """Return how sure the tagger is of each tag, of shape (n, tags)."""
    from PIL import Image

    works = [Recognition(Image.fromarray(pixels), top=len(TAGS)) for pixels in pictures]
    made = (labels for labels in _in_batches(tagger, works) if isinstance(labels, Labels))
    told = [dict(labels.scores) for labels in made]
    return np.array([[scores[tag] for tag in TAGS] for scores in told])


def _in_batches(backend: Backend, works: Sequence[Work]) -> Iterator[Any]:
    silent: Callable[[int, Any], None] = lambda _step, _latents: None  # noqa: E731
    for start in range(0, len(works), _BATCH):
        yield from backend.run(works[start : start + _BATCH], silent)


def _true(people: Sequence[Portrait]) -> Pixels:
    return np.array([[tag in person.tags for tag in TAGS] for person in people])


def _alike_outside(pair: Pair, made: Pixels) -> float:
    """Return the structural similarity to the original where nothing was to change."""
    before, after = _pixels(pair.before), _pixels(pair.after)
    changed = (abs(before.astype(int) - after) > _CHANGED).any(axis=2)
    outside = ~_spread(changed, _NEAR)
    if not outside.any():
        return 1.0
    _, alike = structural_similarity(
        before, made, win_size=_WINDOW, channel_axis=2, data_range=255, full=True
    )
    return float(alike[outside].mean())


def _spread(mask: Pixels, pixels: int) -> Pixels:
    """Return a mask with whatever is near to it."""
    from scipy.ndimage import binary_dilation

    return np.asarray(binary_dilation(mask, iterations=pixels))


def _pixels(person: Portrait) -> Pixels:
    return np.asarray(paint(person))
