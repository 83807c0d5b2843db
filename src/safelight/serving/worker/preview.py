"""Previews of images during denoising: latents to RGB by one matrix, without the decoder."""

from io import BytesIO
from typing import Any

from PIL import Image

# Red, green and blue per latent channel for Stable Diffusion 1 and 2: the usual linear
# approximation, from a regression of images on their latents.
_SD = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)
_SIDE_LIMIT = 128


def preview(latents: Any) -> bytes:
    """Return a JPEG of latents, (channels, height, width), with one pixel per latent position.

    If there are not four channels, the colours show the means of three groups of channels.
    """
    import numpy

    values = numpy.nan_to_num(latents.detach().float().cpu().numpy())
    channels = values.shape[0]
    if channels == len(_SD):
        rgb = sum(values[c][..., None] * _row(_SD[c]) for c in range(channels)) / 2 + 0.5
    else:
        rgb = _by_thirds(values)
    pixels = (rgb.clip(0, 1) * 255).astype("uint8")
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE_LIMIT, _SIDE_LIMIT))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _row(factors: tuple[float, float, float]) -> Any:
    import numpy

    return numpy.array(factors, dtype="float32")


def _by_thirds(values: Any) -> Any:
    import numpy

    bands = numpy.array_split(values, 3)
    grey = numpy.stack([band.mean(axis=0) for band in bands], axis=-1)
    low, high = grey.min(), grey.max()
    return (grey - low) / max(high - low, 1e-6)
