"""Measure an input image from its header, and decode it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf

from PIL import Image

from safelight.errors import ImageDamaged, ImageTooLarge, SafelightError, UnsupportedMediaType
from safelight.quality.colour import as_srgb
from safelight.quality.formats import decoding_pixels, open_image

_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_EXIF_LIMIT_BYTES = 256 * 1024  # usually at most 64 KiB, with its thumbnail; each tag costs time
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,  # from here on, width and height are swapped
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SAMPLE_SIDE = 128  # pixels of the longest side
# Decoding a JPEG at a part of its size averages pixels, which hides fine noise; see `_draft_size`.
_WHOLE_PIXELS, _LEAST_SIDE = 2048 * 2048, 768
_UNREADABLE = {"F": "floating-point numbers", "LAB": "the colours of Lab", "HSV": "HSV colours"}


def trust_measured_images() -> None:
    """Remove Pillow's own size limit: every image is measured before it is decoded.

    Its warnings about metadata are ignored too: any caller could fill the log with them.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module="PIL")


def measure(content: bytes) -> tuple[int, int]:
    """Return width and height as displayed, from the header only.

    Raises NotAnImage, ImageDamaged, UnsupportedMediaType.
    """
    try:
        with open_image(content) as header:
            return _displayed(header.size, _orientation(header))
    except SafelightError:
        raise
    except Exception as error:
        raise ImageDamaged from error


class Larger(Exception):
    """An image costs more pixels than may be decoded here; it is not decoded."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.pixels = pixels


def decode_within(
    content: bytes, side: int, limit_pixels: int, at_most: float = inf
) -> Image.Image:
    """Return the image, upright and in sRGB, with no side longer than `side` pixels.

    For images that were not measured before. Raises ImageTooLarge, and what `decode` raises.
    """

    def within(width: int, height: int) -> tuple[int, int]:
        if width * height > limit_pixels:
            raise ImageTooLarge(width, height, limit_pixels)
        scale = min(1.0, side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    return _read(content, within, at_most).resized()


def decode(content: bytes, size: tuple[int, int], at_most: float = inf) -> Image.Image:
    """Return the image, upright and in sRGB, at `size`.

    Raises NotAnImage, ImageDamaged, UnsupportedMediaType, and Larger if decoding costs more than
    `at_most` pixels.
    """
    return _read(content, lambda _width, _height: size, at_most).resized()


def sample(content: bytes, size: tuple[int, int], at_most: float = inf) -> Image.Image:
    """Return a sample of the image that `decode_and_sample` returns, for less. Raises the same."""
    found = _read(content, lambda _width, _height: size, at_most, samples=True)
    return as_srgb(sampled(found.image), found.profile)


def decode_and_sample(
    content: bytes, size: tuple[int, int], at_most: float = inf
) -> tuple[Image.Image, Image.Image]:
    """Return what `decode` returns, and a sample of the pixels before they were resized.

    Raises what `decode` raises.
    """
    found = _read(content, lambda _width, _height: size, at_most, samples=True)
    return found.resized(), as_srgb(sampled(found.image), found.profile)


def sampled(image: Image.Image) -> Image.Image:
    """Return at most 128 pixels a side of an image: single ones, as averages would hide noise."""
    scale = _SAMPLE_SIDE / max(image.size)
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST)


@dataclass(frozen=True, slots=True)
class _Read:
    """An image, upright, in its own colours, and the size that was wanted."""

    image: Image.Image
    size: tuple[int, int]
    profile: object

    def resized(self) -> Image.Image:
        """Return the image in sRGB at the size that was wanted."""
        image = self.image
        if image.size != self.size:
            image = image.resize(self.size, _filter(image, self.size))
        return as_srgb(image, self.profile)


def _read(
    content: bytes,
    choose: Callable[[int, int], tuple[int, int]],
    at_most: float,
    *,
    samples: bool = False,
) -> _Read:
    """Return the image; `choose` maps its displayed size to the wanted one.

    One that is for `samples` too keeps its fine noise, if it is not larger than most.
    """
    try:
        with open_image(content) as opened:
            orientation = _orientation(opened)
            size = choose(*_displayed(opened.size, orientation))
            if (pixels := decoding_pixels(opened)) > at_most:
                raise Larger(pixels)  # noqa: TRY301 - the header is read once
            if opened.format in ("JPEG", "MPO"):
                # Decoded at a half, a quarter or an eighth of its size if that is enough.
                wanted = _displayed(size, orientation)
                opened.draft("RGB", _draft_size(opened.size, wanted) if samples else wanted)
            image = _plain(opened)
            profile = opened.info.get("icc_profile")
    except (SafelightError, Larger):
        raise
    except Exception as error:
        raise ImageDamaged from error
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    return _Read(image, size, profile)


def _draft_size(stored: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the size from which a JPEG of the `stored` size may be sampled.

    The time of large ones is bounded: of those, only what is larger than two pixels is kept.
    """
    if stored[0] * stored[1] <= _WHOLE_PIXELS:
        return stored
    enough = max(1.0, _LEAST_SIDE / max(wanted))
    return ceil(wanted[0] * enough), ceil(wanted[1] * enough)


def _filter(image: Image.Image, size: tuple[int, int]) -> Image.Resampling:
    """Return the resampling filter: when reducing, Hamming costs a third of Lanczos."""
    reduces = size[0] <= image.width and size[1] <= image.height
    return Image.Resampling.HAMMING if reduces else Image.Resampling.LANCZOS


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit RGB, L or CMYK; transparency becomes white."""
    if image.mode in _UNREADABLE:
        raise UnsupportedMediaType(
            f"The pixels of the image are {_UNREADABLE[image.mode]}. Send 8 or 16 bits of RGB."
        )
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        return image.convert("I").point(lambda value: value / 257).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode == "RGB":  # a copy of a large image costs as much as decoding a small one
        image.load()
        return image
    return image.copy() if image.mode in ("L", "CMYK") else image.convert("RGB")


def _displayed(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return a size as displayed; and, applied once more, as stored."""
    return size[::-1] if orientation >= 5 else size


def _orientation(opened: Image.Image) -> int:
    """Return the EXIF orientation from the header, 1 if it is missing or invalid.

    `getexif` would decode a whole PNG. Pillow turns a TIFF itself.
    """
    exif, content = Image.Exif(), opened.info.get("exif") or b""
    if len(content) > _EXIF_LIMIT_BYTES:
        return 1
    try:
        exif.load(content)
        orientation = exif.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - EXIF is often damaged by editors; the image is whole
        return 1
    return orientation if orientation in _TURNS else 1
