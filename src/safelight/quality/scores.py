"""How good a picture looks, without any other to compare it to. Arithmetic over pixels only."""

from dataclasses import dataclass
from math import cbrt, exp, sqrt
from typing import Any

import numpy
from PIL import Image

_SIDE = 256  # what is looked at, so that every picture costs the same
_BLUR = 9  # pixels of Crete-Roffet's second blur
_TARGET, _WIDTH = 0.5, 0.28  # where the mean of the light should be, and how far it may well be off
_RANGE = 0.6  # of all light: pictures that use as much of it are not washed out
_COLOURFUL = 33.0  # Hasler and Süsstrunk's "moderately colourful"
_NOISE = 12.0  # grey levels of noise at which half of the cleanness is gone
_LUMA = numpy.array([0.299, 0.587, 0.114], "float32")


@dataclass(frozen=True, slots=True)
class Scores:
    """What makes up the looks of a picture, and all of it in one; each is 0 (bad) to 1 (good)."""

    sharpness: float
    exposure: float
    colourfulness: float
    cleanness: float

    @property
    def score(self) -> float:
        """Return the whole: ∛(sharpness · exposure · cleanness) · (0.8 + 0.2 · colourfulness).

        A geometric mean: what is bad in one is not made good by the others. A picture without
        colours may be meant so, and loses a fifth.
        """
        looks = float(cbrt(self.sharpness * self.exposure * self.cleanness))
        return looks * (0.8 + 0.2 * self.colourfulness)


def score(pixels: Any) -> Scores:
    """Return the scores of pixels of shape (height, width, 3), uint8, as seen at 256 pixels."""
    rgb = reduced(pixels, _SIDE)
    grey = grey_of(rgb)
    return Scores(sharpness(grey), exposure(grey), colourfulness(rgb), cleanness(grey))


def grey_of(rgb: Any) -> Any:
    """Return the light of pixels, 0 to 255, by ITU-R BT.601."""
    return rgb.astype("float32") @ _LUMA


def reduced(pixels: Any, side: int) -> Any:
    """Return pixels with no side longer than `side`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return pixels if scale == 1 else at_size(Image.fromarray(pixels), size)


def at_size(picture: Image.Image, size: tuple[int, int]) -> Any:
    """Return the pixels of a picture at a size, each the mean of those that it stands for."""
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    return numpy.asarray(picture)


def sharpness(grey: Any) -> float:
    """Return 1 - blur, by Crete-Roffet et al. 2007: how much a second blur takes away.

    A picture that is blurred already loses little of the differences between its neighbours. The
    direction that lost least counts.
    """
    return 1 - max(_blur(grey), _blur(grey.T))


def _blur(grey: Any) -> float:
    if grey.shape[1] <= _BLUR:
        return 0.0
    sums = numpy.cumsum(grey, axis=1, dtype="float64")
    blurred = (sums[:, _BLUR:] - sums[:, :-_BLUR]) / _BLUR
    own = grey[:, _BLUR // 2 + 1 : _BLUR // 2 + 1 + blurred.shape[1]]
    before = abs(numpy.diff(own, axis=1))
    lost = (before - abs(numpy.diff(blurred, axis=1))).clip(0)
    whole = float(before.sum())
    return 1 - float(lost.sum()) / whole if whole > 0 else 1.0


def exposure(grey: Any) -> float:
    """Return how well the light is used: how near its mean is to the middle, times its range.

    A Gaussian around one half (as Mertens et al. 2007 weigh pixels), times the distance between the
    2nd and the 98th percentile, up to three fifths of all there is.
    """
    low, high = numpy.percentile(grey, (2, 98)) / 255
    off = (float(grey.mean()) / 255 - _TARGET) / _WIDTH
    return exp(-off * off / 2) * min(1.0, float(high - low) / _RANGE)


def colourfulness(rgb: Any) -> float:
    """Return M / (M + 33), M by Hasler and Süsstrunk 2003, whose "moderately colourful" is 33.

    M = √(σ²(rg) + σ²(yb)) + 0.3 · √(μ²(rg) + μ²(yb)), where rg = R - G and yb = (R + G) / 2 - B.
    """
    red, green, blue = (rgb[..., channel].astype("float32") for channel in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    spread = sqrt(float(rg.var()) + float(yb.var()))
    strength = spread + 0.3 * sqrt(float(rg.mean()) ** 2 + float(yb.mean()) ** 2)
    return strength / (strength + _COLOURFUL)


def cleanness(grey: Any) -> float:
    """Return 12 / (12 + s), s the noise in grey levels, by the mask of Immerkær 1996.

    Its mask answers to neither slopes nor, much, to edges. The median of the answers is taken in
    place of his mean (s = median / (6 · 0.6745)), so that edges do not count as noise; a texture
    that fills more than half of the picture still does.
    """
    if min(grey.shape) < 3:
        return 1.0
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    answers = abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    sigma = float(numpy.median(answers)) / (6 * 0.6745)
    return _NOISE / (_NOISE + sigma)
