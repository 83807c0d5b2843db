"""The image formats that are read: recognised by their first bytes, opened without decoding."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from io import BytesIO

from PIL import Image, ImageFile, UnidentifiedImageError, features

from safelight.errors import ImageDamaged, NotAnImage, UnsupportedMediaType
from safelight.quality.cost import check_size, count_scans

_AVIF, _HEIF = "AVIF", "HEIF"
READ = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", _AVIF, _HEIF)
_SHOWN = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # with offsets of 64 bits
    (b"MM\0+", "TIFF"),
    # Not read, but known by name.
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_BRANDS_END = 64  # bytes; the first box lists a handful of brands
_AVIF_HEAD_BYTES = 64 * 1024  # the boxes that describe the image come first
_SCANS = "scans"  # of a JPEG, in an opened image's `info`
_USUAL_SCANS = 10  # of a progressive JPEG
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF 6.0, section 15
_TILE_LIMIT_PIXELS = 4096 * 4096


def open_image(content: bytes) -> ImageFile.ImageFile:
    """Return the image with its header read; its pixels are decoded when they are used.

    Raises NotAnImage, ImageDamaged, ImageTooCostly, UnsupportedMediaType with the format's name.
    """
    name = format_of(content)
    if not name:
        raise NotAnImage(_SHOWN)
    _OPENERS.get(name, _check_known)(name)
    scans = count_scans(content, name)
    try:
        opened = Image.open(BytesIO(content), formats=(name,))
    except UnidentifiedImageError:
        raise ImageDamaged from None
    except ValueError:
        if name != _AVIF:
            raise
        opened = Image.open(BytesIO(_without_exif(content)), formats=(name,))
    check_size(opened.width, opened.height, scans)
    opened.info[_SCANS] = scans
    if name == "TIFF":
        _check_tiles(opened)
    return opened


def decoding_pixels(opened: Image.Image) -> int:
    """Return the pixels that decoding an opened image costs; the usual ten scans count once."""
    scans = int(opened.info.get(_SCANS, 1))
    return opened.width * opened.height * max(1, scans // _USUAL_SCANS)


def format_of(content: bytes) -> str:
    """Return the name of the format that the first bytes belong to; empty if it is unknown."""
    if content[4:8] == b"ftyp":
        return _name_of_brands(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return next((name for start, name in _SIGNATURES if content.startswith(start)), "")


def _name_of_brands(content: bytes) -> str:
    """Return AVIF, HEIF, or empty: both are boxes, and a list of brands tells what is in them."""
    end = min(int.from_bytes(content[:4], "big"), _BRANDS_END)
    brands = {content[place : place + 4] for place in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return _AVIF
    return _HEIF if brands & _HEIF_BRANDS else ""


def _check_known(name: str) -> None:
    if name not in READ:
        raise UnsupportedMediaType(f"The image is a {name} file. Send {_SHOWN}.")


def _check_avif(_name: str) -> None:
    if not features.check("avif"):
        raise UnsupportedMediaType(
            "This service cannot read AVIF, because its Pillow was built without it. "
            "Send JPEG, PNG or WebP."
        )


@cache
def _check_heif(_name: str) -> None:
    try:
        heif = import_module("pillow_heif")
    except ImportError:
        raise UnsupportedMediaType(
            "HEIC needs pip install 'safelight[heif]' on the server. Send JPEG, PNG or WebP."
        ) from None
    # `thumbnails` would let a small preview stand for the image.
    heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


_OPENERS: dict[str, Callable[[str], None]] = {_AVIF: _check_avif, _HEIF: _check_heif}


def _without_exif(content: bytes) -> bytes:
    """Return an AVIF file without EXIF: Pillow refuses the whole file if that is invalid."""
    head, rest = content[:_AVIF_HEAD_BYTES], content[_AVIF_HEAD_BYTES:]
    return head.replace(b"Exif", b"free") + rest


def _check_tiles(opened: ImageFile.ImageFile) -> None:
    """Raise ImageDamaged if a TIFF has tiles much larger than the image: each is decoded whole."""
    tags = getattr(opened, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 1) * tags.get(_TILE_LENGTH, 1)
    if tile > max(opened.width * opened.height, _TILE_LIMIT_PIXELS):
        raise ImageDamaged
