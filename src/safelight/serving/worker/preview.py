"""Previews of images during denoising: latents to RGB by one matrix, without the decoder."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safelight.models.backend import Latents

Floats = NDArray[np.float32]
# Red, green and blue per latent channel for Stable Diffusion 1 and 2: the usual linear
# approximation, from a regression of images on their latents.
_SD = np.array(
    [
        [0.3512, 0.2297, 0.3227],
        [0.3250, 0.4974, 0.2350],
        [-0.2829, 0.1762, 0.2721],
        [-0.2120, -0.2616, -0.7177],
    ],
    dtype=np.float32,
)
_SIDE_LIMIT = 128


def preview(latents: Latents) -> bytes:
    """Return a JPEG of latents, (channels, height, width), with one pixel per latent position.

    If there are not four channels, the colours show the means of three groups of channels.
    """
    values: Floats = np.nan_to_num(latents.detach().float().cpu().numpy())
    if values.shape[0] == len(_SD):
        rgb: Floats = (np.moveaxis(values, 0, -1) @ _SD / 2 + 0.5).astype(np.float32)
    else:
        rgb = _by_thirds(values)
    pixels = (rgb.clip(0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE_LIMIT, _SIDE_LIMIT))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _by_thirds(values: Floats) -> Floats:
    groups = np.array_split(values, 3)
    grey = np.stack([group.mean(axis=0) for group in groups], axis=-1)
    low, high = grey.min(), grey.max()
    scaled: Floats = (grey - low) / max(high - low, 1e-6)
    return scaled
