"""Turns what a job's message carries into what a model reads, and what it made into a PNG."""

from io import BytesIO
from typing import Any

from PIL import Image

from safelight.models.backend import Edit, Generation, Recognition, Work
from safelight.quality.images import decode, decode_within

_PNG_COMPRESSION = 1  # three times as fast as the default, for a fifth more bytes


def as_work(fields: dict[str, Any], picture: bytes, limit_pixels: int) -> Work:
    """Return a job's work, its picture decoded at the size that the model works at.

    Raises NotAnImage, ImageDamaged or ImageTooLarge.
    """
    width, height = fields["size"]
    match fields["task"]:
        case "edit":
            return Edit(image=decode(picture, (width, height)), **fields["work"])
        case "generate":
            return Generation(size=(width, height), **fields["work"])
        case _:
            image = decode_within(picture, width, limit_pixels)
            return Recognition(image=image, **fields["work"])


def encoded(pixels: Any, size: tuple[int, int]) -> bytes:
    """Return pixels as a PNG of `size`: pipelines round a side down to a multiple of 8."""
    image = Image.fromarray(pixels)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=_PNG_COMPRESSION)
    return buffer.getvalue()
