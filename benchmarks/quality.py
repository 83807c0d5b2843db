"""Measure the CPU time of each image quality check, in one thread."""

from collections.abc import Callable, Iterator
from statistics import median
from time import thread_time
from typing import Any

import numpy
from PIL import Image

from benchmarks.measurements import Measurement, rounds
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.quality.entropy import background_entropy
from safelight.quality.scores import score
from safelight.quality.structure import compare, kept

_CHECKS: dict[str, tuple[Callable[[Image.Image, Any], object], float | None]] = {
    "entropy of a background": (lambda image, _pixels: background_entropy(image), 3.0),
    "check of an edit": (kept, None),
    "scores": (lambda _image, pixels: score(pixels), None),
    "structure, edges, change": (compare, None),
}


def measure() -> Iterator[Measurement]:
    """Yield the time of each check, at three sizes."""
    for side in (64, 512, 1024):
        image = paint(draw(1)).resize((side, side), Image.Resampling.BICUBIC)
        for name, (check, limit) in _CHECKS.items():
            yield Measurement(f"{name}, {side} x {side}", 1e3 * _seconds(check, image), "ms", limit)


def _seconds(check: Callable[[Image.Image, Any], object], image: Image.Image) -> float:
    pixels = numpy.asarray(image)

    def once() -> float:
        started = thread_time()
        check(image, pixels)
        return thread_time() - started

    return median(once() for _ in range(rounds(30)))
