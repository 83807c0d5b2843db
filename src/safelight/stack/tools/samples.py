"""What to send where nothing is at hand: seeded portraits of nobody, instructions and captions."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.models.demo.wording import caption

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


_GRAIN = 0.02
_SIZES = ((256, 256), (512, 512))  # square, as all that the demos have learned


@dataclass(frozen=True, slots=True)
class Sample:
    """One request to be sent by POST."""

    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def sample(
    task: str,
    *,
    seed: int,
    instruction: str | None = None,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
) -> Sample:
    """Return a request for what a service does; what is not given is chosen by the seed."""
    chance = random.Random(seed)
    asked = {"seed": seed, **({} if steps is None else {"steps": steps})}
    if task == "generate":
        sides = {} if size is None else {"width": size[0], "height": size[1]}
        prompt = instruction or caption(draw(seed), chance)
        return Sample("/generate", json={"prompt": prompt, **sides, **asked})
    picture = photo(*(size or chance.choice(_SIZES)), seed % 8)
    jpeg = {"content-type": "image/jpeg"}
    if task == "predict":
        return Sample("/predict", content=picture, headers=jpeg)
    edit = {"instruction": instruction or chance.choice(INSTRUCTIONS), **asked}
    return Sample("/api/edit", params=edit, content=picture, headers=jpeg)


def task_told(answer: httpx.Response) -> str:
    """Return what a service does, as its `/v1/models` tells; one that does not tell is to edit."""
    try:
        return str(answer.raise_for_status().json()["data"][0]["task"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return "edit"


@lru_cache(maxsize=64)
def photo(width: int, height: int, seed: int = 0) -> bytes:
    """Return a JPEG of a painted portrait, with a little grain, as a camera's picture has."""
    image = paint(draw(seed)).resize((width, height), Image.Resampling.BICUBIC)
    grains = random.Random(seed).randbytes(width * height)
    grain = Image.frombytes("L", image.size, grains).convert("RGB")
    buffer = BytesIO()
    Image.blend(image, grain, _GRAIN).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
