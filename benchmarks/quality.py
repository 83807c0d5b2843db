"""What each look at a picture costs, by itself, in processor time of one thread."""

from collections.abc import Callable, Iterator
from statistics import median
from time import thread_time
from typing import Any

import numpy
from PIL import Image

from benchmarks.figures import Figure, rounds
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.entropy import background_entropy
from safelight.quality.scores import score
from safelight.quality.structure import compare, kept

_LOOKS: dict[str, tuple[Callable[[Image.Image, Any], object], float | None]] = {
    "entropy of a background": (lambda picture, _pixels: background_entropy(picture), 3.0),
    "check of an edit": (kept, None),
    "scores": (lambda _picture, pixels: score(pixels), None),
    "structure, edges, change": (compare, None),
}


def measure() -> Iterator[Figure]:
    """Yield what each look costs, at three sizes."""
    for side in (64, 512, 1024):
        picture = paint(draw(1)).resize((side, side), Image.Resampling.BICUBIC)
        for name, (look, limit) in _LOOKS.items():
            yield Figure(f"{name}, {side} x {side}", 1e3 * _seconds(look, picture), "ms", limit)


def _seconds(look: Callable[[Image.Image, Any], object], picture: Image.Image) -> float:
    pixels = numpy.asarray(picture)

    def once() -> float:
        began = thread_time()
        look(picture, pixels)
        return thread_time() - began

    return median(once() for _ in range(rounds(30)))
