"""Schemathesis hooks: bodies that are real images, so that requests get past the decoder.

Schemathesis loads this file. One image in four is damaged: cut, or with a changed byte. Most
requests ask for few steps, so that many can be sent.
"""

from base64 import b64encode
from io import BytesIO
from random import Random

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from pillow_heif import register_heif_opener

register_heif_opener()
FORMATS = {
    "image/jpeg": ("JPEG", ("RGB", "L", "CMYK")),
    "image/png": ("PNG", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    "image/webp": ("WEBP", ("RGB", "RGBA")),
    "image/gif": ("GIF", ("P", "L")),
    "image/bmp": ("BMP", ("RGB", "L", "1")),
    "image/tiff": ("TIFF", ("RGB", "RGBA", "L", "CMYK", "I;16")),
    "image/avif": ("AVIF", ("RGB", "RGBA")),
    "image/heic": ("HEIF", ("RGB", "RGBA")),
}
WITH_STEPS = ("/api/edit", "/generate", "/v1/images/edits", "/v1/images/generations")
_SIDES = st.integers(32, 96) | st.integers(1, 40)
_ORIENTATION = 0x0112


def picture(media_type: str, size: tuple[int, int], seed: int, orientation: int) -> bytes:
    """Return an image of noise in a format, in one of its modes."""
    name, modes = FORMATS[media_type]
    chance = Random(seed)
    small = Image.frombytes("RGB", (4, 4), chance.randbytes(48)).resize(size)
    mode = chance.choice(modes)
    image = (
        small.convert("L").convert("I").convert("I;16") if mode == "I;16" else small.convert(mode)
    )
    buffer = BytesIO()
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    options = {} if name in ("GIF", "BMP") else {"exif": exif.tobytes()}
    image.save(buffer, name, **options)
    return buffer.getvalue()


def damage(content: bytes, seed: int) -> bytes:
    """Return three in four contents as they are, the others cut or with a changed byte."""
    chance = Random(seed)
    if chance.random() < 0.75:
        return content
    place = chance.randrange(len(content))
    if chance.random() < 0.5:
        return content[:place]
    return content[:place] + chance.randbytes(1) + content[place + 1 :]


def images(*media_types: str) -> st.SearchStrategy[bytes]:
    """Return a strategy of images in some formats."""
    seeds = st.integers(0, 2**32 - 1)
    sizes = st.tuples(_SIDES, _SIDES)
    whole = st.builds(picture, st.sampled_from(media_types), sizes, seeds, st.integers(0, 9))
    return st.builds(damage, whole, seeds)


def quick(parameters: object) -> object:
    """Return parameters with few steps, unless their number of steps is not accepted."""
    if not isinstance(parameters, dict):
        return parameters
    steps = parameters.get("steps", 20)
    usual = isinstance(steps, int) and 1 <= steps <= 100
    return {**parameters, "steps": 1 + steps % 3} if usual else parameters


def _has_steps(context: schemathesis.HookContext) -> bool:
    return context.operation is not None and context.operation.path in WITH_STEPS


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: object) -> object:
    """Let an edit take few steps."""
    return quick(query) if _has_steps(context) else query


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: object) -> object:
    """Let an edit or a generation take few steps."""
    return quick(body) if _has_steps(context) else body


for each in FORMATS:
    schemathesis.openapi.media_type(each, images(each))
schemathesis.openapi.format("binary", images(*FORMATS))
schemathesis.openapi.format(
    "byte", images(*FORMATS).map(lambda content: b64encode(content).decode())
)
