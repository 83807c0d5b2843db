"""Pictures in every format, with any EXIF and any ICC profile."""

import struct
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, ImageDraw

from safelight.quality.formats import READ

pillow_heif.register_heif_opener()
FORMATS = READ
# The corners of the gamuts, adapted to the white of ICC profiles (D50).
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def card() -> Image.Image:
    """Return a white card, 192 x 96, with a red circle in its left half."""
    image = Image.new("RGB", (192, 96), "white")
    ImageDraw.Draw(image).ellipse((8, 8, 88, 88), fill="red")
    return image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return the bytes of an image in a format."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(kind: int, count: int, value: bytes, *, tag: int = 0x0112) -> bytes:
    """Return EXIF with one field, by default the orientation."""
    field = struct.pack("<IHHHI", 8, 1, tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + field + bytes(4)


def orientation(number: int) -> bytes:
    """Return EXIF with an orientation, which may not exist."""
    return exif(3, 1, bytes([number]))


def profile(*primaries: tuple[float, float, float]) -> bytes:
    """Return sRGB's profile with other primaries."""
    content = bytearray(srgb())
    [count] = struct.unpack(">I", content[128:132])
    wanted = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True))
    for entry in range(132, 132 + 12 * count, 12):
        name, place, _ = struct.unpack(">4sII", content[entry : entry + 12])
        if name in wanted:
            numbers = (round(number * 65536) for number in wanted[name])
            content[place + 8 : place + 20] = struct.pack(">3i", *numbers)
    return bytes(content)


def srgb() -> bytes:
    """Return the profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def middle(image: Image.Image) -> tuple[int, ...]:
    """Return the colour in the middle of an image."""
    colour = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(colour, tuple)
    return colour
