"""Reads the picture that a caller sent: first its size, without decoding it; then its pixels."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from safelight.errors import ImageDamaged, ImageTooLarge, NotAnImage

FORMATS = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112  # EXIF 2.32, table 4: 5 to 8 swap width and height


def trust_measured_images() -> None:
    """Take Pillow's own limit away: every image is measured before anything decodes it."""
    Image.MAX_IMAGE_PIXELS = None


def measure(picture: bytes) -> tuple[int, int]:
    """Return width and height as viewed, from the header alone. Raises NotAnImage, ImageDamaged."""
    try:
        with Image.open(BytesIO(picture), formats=FORMATS) as header:
            width, height = header.size
            return (height, width) if _orientation(header) >= 5 else (width, height)
    except UnidentifiedImageError:
        raise NotAnImage from None
    except Exception as error:
        raise ImageDamaged from error


def decode_within(picture: bytes, side: int, limit_pixels: int) -> Image.Image:
    """Return the picture, upright and RGB, no side longer than `side` pixels.

    For whom nobody has measured it yet. Raises NotAnImage, ImageDamaged, ImageTooLarge.
    """

    def within(width: int, height: int) -> tuple[int, int]:
        if width * height > limit_pixels:
            raise ImageTooLarge(width, height, limit_pixels)
        scale = min(1.0, side / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    return _decode(picture, within)


def decode(picture: bytes, size: tuple[int, int]) -> Image.Image:
    """Return the picture, upright and RGB, at `size`. Raises NotAnImage, ImageDamaged."""
    return _decode(picture, lambda _width, _height: size)


def _decode(picture: bytes, choose: Callable[[int, int], tuple[int, int]]) -> Image.Image:
    """Return the picture, upright and RGB, at the size chosen from its own as viewed."""
    try:
        with Image.open(BytesIO(picture), formats=FORMATS) as opened:
            turned = _orientation(opened)
            size = choose(*(opened.size[::-1] if turned >= 5 else opened.size))
            # JPEGs are decoded at a half, a quarter or an eighth where that still suffices.
            opened.draft("RGB", size[::-1] if turned >= 5 else size)
            upright = ImageOps.exif_transpose(opened) if turned > 1 else opened
            image = _as_rgb(upright)
    except UnidentifiedImageError:
        raise NotAnImage from None
    except ImageTooLarge:
        raise
    except Exception as error:
        raise ImageDamaged from error
    return image if image.size == size else image.resize(size, _filter(image, size))


def _filter(image: Image.Image, size: tuple[int, int]) -> Image.Resampling:
    """Return the filter: of those that shrink well, the one that costs a third of Lanczos'."""
    shrinks = size[0] <= image.width and size[1] <= image.height
    return Image.Resampling.HAMMING if shrinks else Image.Resampling.LANCZOS


def _as_rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in 8-bit RGB: deep greys scaled, not clipped; transparency on white."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow's own conversion would clip at 255
        return picture.convert("I").point(lambda value: value / 257).convert("L").convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _orientation(opened: Image.Image) -> int:
    """Return the EXIF orientation that the header tells; `getexif` of a PNG would decode it all."""
    exif = Image.Exif()
    exif.load(opened.info.get("exif", b""))
    return int(exif.get(_ORIENTATION, 1))
