"""Measure an input image from its header, and decode it."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from safelight.errors import ImageDamaged, ImageTooLarge, NotAnImage

FORMATS = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112  # EXIF 2.32, table 4: 5 to 8 swap width and height


def trust_measured_images() -> None:
    """Remove Pillow's own size limit: every image is measured before it is decoded."""
    Image.MAX_IMAGE_PIXELS = None


def measure(content: bytes) -> tuple[int, int]:
    """Return width and height as displayed, from the header only.

    Raises NotAnImage, ImageDamaged.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as header:
            width, height = header.size
            return (height, width) if _orientation(header) >= 5 else (width, height)
    except UnidentifiedImageError:
        raise NotAnImage from None
    except Exception as error:
        raise ImageDamaged from error


def decode_within(content: bytes, side: int, limit_pixels: int) -> Image.Image:
    """Return the image, upright and RGB, with no side longer than `side` pixels.

    For images that were not measured before. Raises NotAnImage, ImageDamaged, ImageTooLarge.
    """

    def within(width: int, height: int) -> tuple[int, int]:
        if width * height > limit_pixels:
            raise ImageTooLarge(width, height, limit_pixels)
        scale = min(1.0, side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    return _decode(content, within)


def decode(content: bytes, size: tuple[int, int]) -> Image.Image:
    """Return the image, upright and RGB, at `size`. Raises NotAnImage, ImageDamaged."""
    return _decode(content, lambda _width, _height: size)


def _decode(content: bytes, choose: Callable[[int, int], tuple[int, int]]) -> Image.Image:
    """Return the image, upright and RGB; `choose` maps its displayed size to the wanted size."""
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as opened:
            orientation = _orientation(opened)
            size = choose(*(opened.size[::-1] if orientation >= 5 else opened.size))
            # JPEGs are decoded at a half, a quarter or an eighth of their size if that is enough.
            opened.draft("RGB", size[::-1] if orientation >= 5 else size)
            upright = ImageOps.exif_transpose(opened) if orientation > 1 else opened
            image = _as_rgb(upright)
    except UnidentifiedImageError:
        raise NotAnImage from None
    except ImageTooLarge:
        raise
    except Exception as error:
        raise ImageDamaged from error
    return image if image.size == size else image.resize(size, _filter(image, size))


def _filter(image: Image.Image, size: tuple[int, int]) -> Image.Resampling:
    """Return the resampling filter: when reducing, Hamming costs a third of Lanczos."""
    reduces = size[0] <= image.width and size[1] <= image.height
    return Image.Resampling.HAMMING if reduces else Image.Resampling.LANCZOS


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return the image in 8-bit RGB: 16-bit greys are scaled, transparency becomes white."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        return image.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _orientation(opened: Image.Image) -> int:
    """Return the EXIF orientation from the header; `getexif` would decode a whole PNG."""
    exif = Image.Exif()
    exif.load(opened.info.get("exif", b""))
    return int(exif.get(_ORIENTATION, 1))
