"""The entropy of an image's background, in bits: how busy it is."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from safelight.quality.images import sampled

MAX_BITS = 12.0
Levels = NDArray[np.uint16]
_BITS = 4  # per channel: 16 levels of red, green and blue are 4 096 colours
_SURROUNDINGS = 32  # a pixel's surroundings reach to each side by this part of the longest side
_MIDDLE = 136  # what a pixel that equals its surroundings becomes: the middle of a level
_GREY = 0.9  # neighbours of a photograph vary a little more than its colours do


def background_entropy(image: Image.Image) -> float:
    """Return how much an RGB image varies outside its middle, 0 to 12 bits.

    Shannon's entropy (1948) of the pixels outside an ellipse of three quarters of the width and
    height, each relative to the mean of its surroundings: a gradient has none. It is the larger of
    two: the entropy of the colours (three channels jointly), and nine tenths of that of the
    brightness (a pixel with its right and its lower neighbour), for grey images. If every pixel
    has its own colour, the result is 12, or log2 of the number of pixels.
    """
    image = sampled(image)
    outside = _outside(image.height, image.width)
    colours, grey = _levels(image), _levels(image.convert("L"))
    return max(
        _entropy(_joint(colours[..., 0], colours[..., 1], colours[..., 2])[outside]),
        _GREY * _entropy(_joint(grey[:-1, :-1], grey[:-1, 1:], grey[1:, :-1])[outside[:-1, :-1]]),
    )


def _levels(image: Image.Image) -> Levels:
    """Return each pixel relative to its surroundings, in 16 levels per channel."""
    radius = max(1, max(image.size) // _SURROUNDINGS)
    surroundings = image.filter(ImageFilter.BoxBlur(radius))
    relative = np.asarray(ImageChops.subtract(image, surroundings, 1, _MIDDLE))
    levels: Levels = (relative >> (8 - _BITS)).astype(np.uint16)
    return levels


def _joint(first: Levels, second: Levels, third: Levels) -> Levels:
    joint: Levels = np.bitwise_or((first << 2 * _BITS) | (second << _BITS), third, dtype=np.uint16)
    return joint


def _entropy(values: Levels) -> float:
    """Return the entropy of a list of numbers in bits; an empty one has none."""
    counts = np.bincount(values, minlength=1)
    shares = counts[counts > 0] / max(1, values.size)
    return float(abs(shares @ np.log2(shares)))


@lru_cache(maxsize=64)
def _outside(height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels are outside the ellipse in the middle."""
    row, column = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    outside: NDArray[np.bool_] = (row / 0.75) ** 2 + (column / 0.75) ** 2 > 1
    return outside
