"""The entropy of an image's background, in bits: how busy it is."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_BITS = 12.0
_BITS = 4  # per channel: 16 levels of red, green and blue are 4 096 colours
_SIDE = 128  # pixels of the longest side; more pixels do not change the result


def background_entropy(image: Image.Image) -> float:
    """Return the entropy of the colours outside the middle of an RGB image, 0 to 12 bits.

    Shannon's entropy (1948) of the joint histogram of the three channels, over the pixels outside
    an ellipse of three quarters of the width and height. A single colour has 0 bits. If every pixel
    has its own colour, the result is 12, or log2 of the number of pixels.
    """
    if max(image.size) > _SIDE:  # nearest neighbour: averaging pixels would make new colours
        scale = _SIDE / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.NEAREST)
    colours = (np.asarray(image) >> (8 - _BITS)).astype("uint16")
    joint = (colours[..., 0] << 2 * _BITS) | (colours[..., 1] << _BITS) | colours[..., 2]
    background = joint[_outside(*joint.shape)]
    counts = np.bincount(background, minlength=1)
    shares = counts[counts > 0] / background.size
    return float(abs(shares @ np.log2(shares)))


@lru_cache(maxsize=64)
def _outside(height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels are outside the ellipse in the middle."""
    row, column = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    outside: NDArray[np.bool_] = (row / 0.75) ** 2 + (column / 0.75) ** 2 > 1
    return outside
