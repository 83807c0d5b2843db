"""Convert an image's colours to sRGB by its ICC profile. A profile that is broken is ignored."""

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

_PROFILE_LIMIT_BYTES = 4 * 1024 * 1024  # printers' profiles have up to 3 MB
_CACHED = 8  # a service sees the profiles of a few cameras; each costs at most 5 MB
_SAMPLES = 9  # of each colour, to see what a profile changes
_TOLERANCE = 1  # of 255: rounding
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # of Pillow's modes


def as_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Return an image of mode RGB, L or CMYK in sRGB, by the bytes of its profile."""
    if not isinstance(profile, bytes) or not 0 < len(profile) <= _PROFILE_LIMIT_BYTES:
        return image.convert("RGB")
    transform = _transform(profile, image.mode)
    if transform is None:
        return image.convert("RGB")
    return transform.apply(image)


@lru_cache(maxsize=_CACHED)
def _transform(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Return the transform of a profile to sRGB; None if it is broken or changes nothing."""
    from PIL import ImageCms  # only for images with a profile

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES.get(mode):
            return None
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
        return transform if _changes(transform, mode) else None
    except Exception:  # noqa: BLE001 - whatever is wrong with a profile, the image is served
        return None


def _changes(transform: "ImageCmsTransform", mode: str) -> bool:
    """Return whether a transform changes colours that are sRGB already, or might be."""
    if mode == "CMYK":
        return True
    before = _palette().convert(mode)
    after = transform.apply(before).tobytes()
    pairs = zip(before.convert("RGB").tobytes(), after, strict=True)
    return any(abs(old - new) > _TOLERANCE for old, new in pairs)


def _palette() -> Image.Image:
    """Return an image with colours from the whole cube."""
    levels = [round(255 * level / (_SAMPLES - 1)) for level in range(_SAMPLES)]
    colours = bytes(each for r in levels for g in levels for b in levels for each in (r, g, b))
    return Image.frombytes("RGB", (_SAMPLES**2, _SAMPLES), colours)
