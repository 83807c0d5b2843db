"""Quality scores of one image, without a reference image. Arithmetic over pixels only."""

from dataclasses import dataclass
from math import cbrt, exp, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
"""Shape (height, width, 3)."""
Grey = NDArray[np.float32]
"""Shape (height, width), 0 to 255."""

_SIDE = 256  # images are reduced to this side, so that all cost the same
_BLUR = 9  # pixels of the second blur of Crete-Roffet et al.
_TARGET, _WIDTH = 0.5, 0.28  # the best mean luminance, and the standard deviation around it
_RANGE = 0.6  # an image that uses this share of the luminance range is not washed out
_COLOURFUL = 33.0  # "moderately colourful" in Hasler and Süsstrunk
_NOISE = 12.0  # grey levels of noise at which cleanness is one half
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Scores:
    """The parts of the quality score, each from 0 (bad) to 1 (good)."""

    sharpness: float
    exposure: float
    colourfulness: float
    cleanness: float

    @property
    def score(self) -> float:
        """Return ∛(sharpness · exposure · cleanness) · (0.8 + 0.2 · colourfulness).

        A geometric mean: a good part does not make up for a bad one. A grey image may be
        intended, and loses only a fifth.
        """
        mean = float(cbrt(self.sharpness * self.exposure * self.cleanness))
        return mean * (0.8 + 0.2 * self.colourfulness)


def score(pixels: Pixels) -> Scores:
    """Return the scores of an image, reduced to 256 pixels."""
    rgb = reduced(pixels, _SIDE)
    grey = grey_of(rgb)
    return Scores(sharpness(grey), exposure(grey), colourfulness(rgb), cleanness(grey))


def grey_of(rgb: Pixels) -> Grey:
    """Return the luma of pixels by ITU-R BT.601."""
    grey: Grey = rgb.astype(np.float32) @ _LUMA
    return grey


def reduced(pixels: Pixels, side: int) -> Pixels:
    """Return pixels with no side longer than `side`."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return pixels if scale == 1 else at_size(Image.fromarray(pixels), size)


def at_size(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """Return the pixels of an image at a size; each is the mean of the pixels it replaces."""
    if image.size != size:
        image = image.resize(size, Image.Resampling.BOX, reducing_gap=1.0)
    return np.asarray(image)


def sharpness(grey: Grey) -> float:
    """Return 1 - blur (Crete-Roffet et al. 2007): how much a second blur changes the image.

    A blurred image loses little of the differences between neighbouring pixels. The direction that
    loses least counts.
    """
    return 1 - max(_blur(grey), _blur(grey.T))


def _blur(grey: Grey) -> float:
    if grey.shape[1] <= _BLUR:
        return 0.0
    sums = np.cumsum(grey, axis=1, dtype="float64")
    blurred = (sums[:, _BLUR:] - sums[:, :-_BLUR]) / _BLUR
    centre = grey[:, _BLUR // 2 + 1 : _BLUR // 2 + 1 + blurred.shape[1]]
    variation = abs(np.diff(centre, axis=1))
    lost_variation = (variation - abs(np.diff(blurred, axis=1))).clip(0)
    total = float(variation.sum())
    return 1 - float(lost_variation.sum()) / total if total > 0 else 1.0


def exposure(grey: Grey) -> float:
    """Return how well the luminance range is used.

    A Gaussian of the mean around one half (the weight of Mertens et al. 2007), times the distance
    between the 2nd and the 98th percentile, at most three fifths of the range.
    """
    low, high = np.percentile(grey, (2, 98)) / 255
    off = (float(grey.mean()) / 255 - _TARGET) / _WIDTH
    return exp(-off * off / 2) * min(1.0, float(high - low) / _RANGE)


def colourfulness(rgb: Pixels) -> float:
    """Return M / (M + 33), M by Hasler and Süsstrunk 2003, where 33 is "moderately colourful".

    M = √(σ²(rg) + σ²(yb)) + 0.3 · √(μ²(rg) + μ²(yb)), where rg = R - G and yb = (R + G) / 2 - B.
    """
    red, green, blue = (rgb[..., channel].astype("float32") for channel in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    spread = sqrt(float(rg.var()) + float(yb.var()))
    strength = spread + 0.3 * sqrt(float(rg.mean()) ** 2 + float(yb.mean()) ** 2)
    return strength / (strength + _COLOURFUL)


def cleanness(grey: Grey) -> float:
    """Return 12 / (12 + s), where s is the noise in grey levels by the mask of Immerkær 1996.

    The mask ignores gradients and most edges. The median of its responses replaces the mean of the
    paper (s = median / (6 · 0.6745)), so that edges do not count as noise. A texture that fills
    more than half of the image still counts.
    """
    if min(grey.shape) < 3:
        return 1.0
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    responses = abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    sigma = float(np.median(responses)) / (6 * 0.6745)
    return _NOISE / (_NOISE + sigma)
