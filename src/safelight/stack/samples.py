"""Pictures and instructions to send where none are at hand: seeded, photograph-like, nobody's."""

import random
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageFilter

INSTRUCTIONS = (
    "make him old",
    "add sunglasses",
    "change the background to a beach",
    "add a beard",
    "make her smile",
    "turn the hair red",
    "make it look like a watercolour painting",
    "remove the glasses",
    "make it snow",
    "something that fits no type",
)


@lru_cache(maxsize=64)
def photo(width: int, height: int, seed: int = 0) -> bytes:
    """Return a JPEG with soft light, a few shapes and grain, as a camera's picture has."""
    chance = random.Random(seed)
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image = Image.blend(image, Image.new("RGB", image.size, _colour(chance)), 0.6)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, radius = chance.randrange(width), chance.randrange(height), chance.randrange(8, 120)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(chance))
    grain = Image.frombytes("L", image.size, chance.randbytes(width * height)).convert("RGB")
    buffer = BytesIO()
    Image.blend(image.filter(ImageFilter.GaussianBlur(3)), grain, 0.04).save(
        buffer, "JPEG", quality=88
    )
    return buffer.getvalue()


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return (chance.randrange(256), chance.randrange(256), chance.randrange(256))
