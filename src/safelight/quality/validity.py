"""Check whether an image is broken: not finite, black, flat, noisy, or of a wrong size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Shape (height, width, 3)."""
_LINES = 48  # rows and columns that are checked for noise


@dataclass(frozen=True, slots=True)
class Limits:
    """When an image counts as broken; docs/validity.md has the measurements for the defaults.

    `black_level`, of 255: an image without a brighter pixel is black. `flat_deviation`, in grey
    levels: an image with a smaller standard deviation is flat. `noise_correlation` of neighbouring
    pixels: an image below it is noise; 0 switches this check off. `rounding_pixels`: how much a
    pipeline may round a side down.
    """

    black_level: int = 8
    flat_deviation: float = 1.0
    noise_correlation: float = 0.25
    rounding_pixels: int = 7


def invalidity(
    pixels: Pixels, wanted: tuple[int, int], limits: Limits, *, finite: bool
) -> str | None:
    """Return what is wrong with an image, a value of catalog.INVALIDITY; None if nothing is.

    `wanted` is (width, height). `finite`: all numbers of the model were finite.
    """
    if not finite:
        return "not_finite"
    height, width = pixels.shape[:2]
    missing_pixels = (wanted[0] - width, wanted[1] - height)
    if any(not 0 <= missing <= limits.rounding_pixels for missing in missing_pixels):
        return "wrong_size"
    if int(pixels.max()) <= limits.black_level:
        return "black"
    # One pixel in fifteen, in steps that match no pattern; per channel, as one colour is flat too.
    channels = pixels[::3, ::5].reshape(-1, 3).T.copy()
    if float(channels.std(axis=1).max()) < limits.flat_deviation:
        return "flat"
    checked = limits.noise_correlation > 0
    noisy = checked and neighbour_correlation(pixels) < limits.noise_correlation
    return "noise" if noisy else None


def neighbour_correlation(pixels: Pixels) -> float:
    """Return the correlation of neighbouring pixels: 1 for a smooth image, 0 for noise.

    Over all channels, along rows or columns, whichever is larger: stripes are smooth in one
    direction.
    """
    height, width = pixels.shape[:2]
    rows = pixels[:: max(1, height // _LINES)]
    columns = pixels[:, :: max(1, width // _LINES)].swapaxes(0, 1)
    return max(_correlation(rows), _correlation(columns))


def _correlation(lines: Pixels) -> float:
    """Return 1 - E[(a - b)²] / 2 var, the correlation of neighbours a and b of equal variance.

    `lines` is (lines, pixels, 3). Sums of squares are dot products, because NumPy's sums over an
    axis of three take twenty times as long.
    """
    values = lines.reshape(-1, 3).astype(np.float32)
    values -= values.T.copy().mean(axis=1)
    rows = values.reshape(lines.shape)
    steps = (rows[:, 1:] - rows[:, :-1]).ravel()
    flat = values.ravel()
    if not steps.size or not flat.any():
        return 1.0
    difference = float(steps @ steps) / int(steps.size)
    variance = float(flat @ flat) / int(flat.size)
    return 1 - difference / (2 * variance)
