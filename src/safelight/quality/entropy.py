"""How busy the background of a picture is, in bits, without knowing what its subject is."""

from functools import lru_cache
from typing import Any

import numpy
from PIL import Image

MOST_BITS = 12.0
_BITS = 4  # of each channel: 16 shades of red, green and blue are 4 096 colours
_SIDE = 128  # pixels looked at along the longest side; more would tell no more


def background_entropy(picture: Image.Image) -> float:
    """Return the entropy of the colours around the middle of an RGB picture, 0 to 12 bits.

    Shannon's (1948) entropy of the joint histogram of the three channels, of the pixels outside the
    ellipse that touches the middle three quarters of each side. One colour has 0 bits; where each
    pixel has one of its own they reach 12, or as many as there are pixels for.
    """
    if max(picture.size) > _SIDE:  # pixels are left out, not mixed: mixing makes new colours
        scale = _SIDE / max(picture.size)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.NEAREST)
    colours = (numpy.asarray(picture) >> (8 - _BITS)).astype("uint16")
    joint = (colours[..., 0] << 2 * _BITS) | (colours[..., 1] << _BITS) | colours[..., 2]
    around = joint[_around(*joint.shape)]
    counts = numpy.bincount(around, minlength=1)
    shares = counts[counts > 0] / around.size
    return float(abs(shares @ numpy.log2(shares)))


@lru_cache(maxsize=64)
def _around(height: int, width: int) -> Any:
    """Return which pixels are outside the ellipse in the middle."""
    row, column = numpy.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (row / 0.75) ** 2 + (column / 0.75) ** 2 > 1
