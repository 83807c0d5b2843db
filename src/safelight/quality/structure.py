"""Measure how much of the input image an edit kept, from the pixels only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safelight.quality.scores import Grey, Pixels, at_size, grey_of, reduced

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
_COARSE = 64  # the longest side at which every edit is checked: layout, not detail
_FINE = 256  # the longest side for sampled edits
_WINDOW = 7  # Wang et al. 2004
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SIMILAR = 0.4  # a place with a higher similarity has kept its structure
_SAME = 30  # of 255: a colour with a smaller difference in every channel is the same
_EDGE = 24.0  # grey levels per pixel: a steeper gradient is an edge


@dataclass(frozen=True, slots=True)
class Kept:
    """Mean structural similarity, share of edges kept, share of pixels changed; each 0 to 1."""

    structure: float
    edges: float
    changed: float


def kept(before: Image.Image, after: Pixels) -> float:
    """Return the share of the image that kept its structure and colour, 0 to 1.

    A place is kept if its structural similarity in grey is above 0.4 and no channel differs by 30
    of 255 or more, both at 64 pixels. Both are needed: a blank image is structurally similar to
    every plain area, and a shuffled image often has the same colours.
    """
    first, second = _both(before, after, _COARSE)
    if min(first.shape[:2]) < _WINDOW:
        return 1.0
    similar = similarity(grey_of(first), grey_of(second)) > _SIMILAR
    edge = _WINDOW // 2
    same = _same(first, second)[edge:-edge, edge:-edge]
    return float((similar & same).mean())


def compare(before: Image.Image, after: Pixels) -> Kept:
    """Return what an edit kept of an image, at 256 pixels."""
    first, second = _both(before, after, _FINE)
    greys = grey_of(first), grey_of(second)
    changed = 1 - float(_same(first, second).mean())
    if min(first.shape[:2]) < _WINDOW:
        return Kept(1 - changed, 1 - changed, changed)  # too small to have a structure
    structure = max(0.0, float(similarity(*greys).mean()))
    return Kept(structure, _edges_kept(*greys), changed)


def similarity(before: Grey, after: Grey) -> Floats:
    """Return the structural similarity (SSIM) at each place, shape (height - 6, width - 6).

    Wang, Bovik, Sheikh and Simoncelli 2004, with uniform windows of 7 by 7; 1 is identical, 0 and
    less is unrelated. Equal to scikit-image with `use_sample_covariance=False`, in a tenth of the
    time.
    """
    x, y = before, after
    mean_x, mean_y, squares, xy = (_windows(v) for v in (x, y, x * x + y * y, x * y))
    product, powers = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    numerator = (2 * product + _C1) * (2 * (xy - product) + _C2)
    return numerator / ((powers + _C1) * (squares - powers + _C2))


def _both(before: Image.Image, after: Pixels, side: int) -> tuple[Pixels, Pixels]:
    """Return both images at the same size; a pipeline may have rounded a side down."""
    second = reduced(after, side)
    height, width = second.shape[:2]
    return at_size(before, (width, height)), second


def _same(first: Pixels, second: Pixels) -> Mask:
    difference = np.maximum(first, second) - np.minimum(first, second)
    largest = np.maximum(np.maximum(difference[..., 0], difference[..., 1]), difference[..., 2])
    same: Mask = largest < _SAME
    return same


def _windows(values: Grey) -> Floats:
    """Return the mean of every window."""
    rows: Floats = np.add.accumulate(values, axis=0, dtype=np.float64)
    rows[_WINDOW:] -= rows[:-_WINDOW].copy()
    columns: Floats = np.add.accumulate(rows[_WINDOW - 1 :], axis=1)
    columns[:, _WINDOW:] -= columns[:, :-_WINDOW].copy()
    means: Floats = columns[:, _WINDOW - 1 :] / _WINDOW**2
    return means


def _edges_kept(before: Grey, after: Grey) -> float:
    """Return the share of the input's edges that have an edge within one pixel in the output."""
    edges, others = _edges(before), _edges(after)
    if not edges.any():
        return 1.0
    near = others.copy()
    for axis in (0, 1):
        for step in (1, -1):
            near |= np.roll(others, step, axis)
    return float(near[edges].mean())


def _edges(grey: Grey) -> Mask:
    down, across = np.gradient(grey)
    return np.asarray(down * down + across * across > _EDGE * _EDGE)
