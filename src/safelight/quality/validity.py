"""Tells whether an image that a model made is fit to be sent. Arithmetic over pixels only."""

from typing import Any

_DARKEST = 8  # of 255: a picture with no brighter pixel is black
_FLATTEST = 1.0  # grey levels of standard deviation, below which nothing is to be seen
_ROUNDING_PIXELS = 7  # pipelines round a side down to a multiple of 8


def invalidity(pixels: Any, wanted: tuple[int, int], *, finite: bool) -> str | None:
    """Return what is wrong with an image, of catalog.INVALIDITY, or None.

    `pixels` is (height, width, 3) of uint8; `wanted` is width and height; `finite` tells whether
    all of the model's numbers were.
    """
    if not finite:
        return "not_finite"
    height, width = pixels.shape[:2]
    off = (wanted[0] - width, wanted[1] - height)
    if any(not 0 <= missing <= _ROUNDING_PIXELS for missing in off):
        return "wrong_size"
    if int(pixels.max()) <= _DARKEST:
        return "black"
    # Of one pixel in fifteen, in steps that no pattern has; by channel, for one colour is flat too.
    sample = pixels[::3, ::5].reshape(-1, 3)
    return "flat" if float(sample.std(axis=0).max()) < _FLATTEST else None
