"""Tells whether an image that a model made is fit to be sent. Arithmetic over pixels only."""

from dataclasses import dataclass
from typing import Any

_LINES = 48  # rows and columns that noise is looked for in


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on an image is broken; the defaults are measured, see docs/validity.md.

    `black_level`, of 255: with no brighter pixel it is black. `flat_deviation`, in grey levels: if
    they deviate less, nothing is to be seen. `noise_correlation` of neighbouring pixels: below it
    they have nothing to do with each other; 0 looks for none. `rounding_pixels` is what a pipeline
    may round a side down by.
    """

    black_level: int = 8
    flat_deviation: float = 1.0
    noise_correlation: float = 0.25
    rounding_pixels: int = 7


def invalidity(pixels: Any, wanted: tuple[int, int], limits: Limits, *, finite: bool) -> str | None:
    """Return what is wrong with an image, of catalog.INVALIDITY, or None.

    `pixels` is (height, width, 3) of uint8; `wanted` is width and height; `finite` tells whether
    all of the model's numbers were.
    """
    if not finite:
        return "not_finite"
    height, width = pixels.shape[:2]
    off = (wanted[0] - width, wanted[1] - height)
    if any(not 0 <= missing <= limits.rounding_pixels for missing in off):
        return "wrong_size"
    if int(pixels.max()) <= limits.black_level:
        return "black"
    # Of one pixel in fifteen, in steps that no pattern has; by channel, for one colour is flat too.
    channels = pixels[::3, ::5].reshape(-1, 3).T.copy()
    if float(channels.std(axis=1).max()) < limits.flat_deviation:
        return "flat"
    looked_for = limits.noise_correlation > 0
    return "noise" if looked_for and kinship(pixels) < limits.noise_correlation else None


def kinship(pixels: Any) -> float:
    """Return how much neighbouring pixels have in common: 1 is all, 0 is nothing, as in noise.

    The correlation of neighbours, over all channels, along rows or columns, whichever is more: a
    picture of stripes has a direction in which it is calm.
    """
    height, width = pixels.shape[:2]
    rows = pixels[:: max(1, height // _LINES)]
    columns = pixels[:, :: max(1, width // _LINES)].swapaxes(0, 1)
    return max(_correlation(rows), _correlation(columns))


def _correlation(lines: Any) -> float:
    """Return 1 - E[(a - b)²] / 2 var, the correlation of neighbours a and b that are spread alike.

    `lines` is (lines, pixels, 3). Sums of squares are dot products: over an axis of three, numpy's
    own sums take twenty times as long.
    """
    values = lines.reshape(-1, 3).astype("float32")
    values -= values.T.copy().mean(axis=1)
    steps = values.reshape(lines.shape)
    steps = (steps[:, 1:] - steps[:, :-1]).ravel()
    flat = values.ravel()
    if not steps.size or not flat.any():
        return 1.0
    apart = float(steps @ steps) / int(steps.size)
    spread = float(flat @ flat) / int(flat.size)
    return 1 - apart / (2 * spread)
