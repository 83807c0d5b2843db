"""The task of every system and its image, without any model or server code."""

import base64
import io

import numpy as np
from PIL import Image

LABELS = ("bird", "boat", "bridge", "car", "cat", "dog", "flower", "house", "tree", "wolf")

INSTRUCTION = "make him old"
STEPS = 8
TEXT_GUIDANCE = 7.5
IMAGE_GUIDANCE = 1.5

TAG_BATCH = 32  # the largest batch
EDIT_BATCH = 8

SEED = 20261121
_SIDE = 64


def image() -> bytes:
    """Return the PNG in every request: a colour gradient with a little seeded noise."""
    row, column = np.mgrid[0:_SIDE, 0:_SIDE]
    gradient = np.stack([column * 4, row * 4, (row + column) * 2], axis=-1)
    noise = np.random.default_rng(SEED).normal(0, 4, gradient.shape)
    return write(Image.fromarray(np.clip(gradient + noise, 0, 255).astype("uint8")))


def read(png: bytes) -> Image.Image:
    """Return the decoded image of a PNG."""
    return Image.open(io.BytesIO(png)).convert("RGB")


def read_base64(text: str) -> Image.Image:
    """Return the decoded image of a PNG in base64."""
    return read(base64.b64decode(text))


def write(image: Image.Image) -> bytes:
    """Return an image as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
