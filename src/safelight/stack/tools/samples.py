"""Sample requests: seeded portraits of invented people, instructions and captions."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO

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
_SIZES = ((256, 256), (512, 512))  # square, like the training images of the demo models


@dataclass(frozen=True, slots=True)
class Sample:
    """One POST request."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    content: bytes | None = None
    json: Mapping[str, str | int] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def sample(
    task: str,
    *,
    seed: int,
    instruction: str | None = None,
    size: tuple[int, int] | None = None,
    steps: int | None = None,
) -> Sample:
    """Return a request for a service with this task; the seed chooses what is None."""
    chance = random.Random(seed)
    options: dict[str, str | int] = {"seed": seed, **({} if steps is None else {"steps": steps})}
    if task == "generate":
        sides = {} if size is None else {"width": size[0], "height": size[1]}
        prompt = instruction or caption(draw(seed), chance)
        return Sample("/generate", json={"prompt": prompt, **sides, **options})
    image = photo(*(size or chance.choice(_SIZES)), seed % 8)
    jpeg = {"content-type": "image/jpeg"}
    if task == "predict":
        return Sample("/predict", content=image, headers=jpeg)
    options["instruction"] = instruction or chance.choice(INSTRUCTIONS)
    return Sample("/api/edit", params=options, content=image, headers=jpeg)


def parse_task(response: httpx.Response) -> str:
    """Return the task in a response of `/v1/models`; `edit` if it contains none."""
    try:
        return str(response.raise_for_status().json()["data"][0]["task"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return "edit"


@lru_cache(maxsize=64)
def photo(width: int, height: int, seed: int = 0) -> bytes:
    """Return a JPEG of a painted portrait, with a little grain like that of a camera."""
    image = paint(draw(seed)).resize((width, height), Image.Resampling.BICUBIC)
    grains = random.Random(seed).randbytes(width * height)
    grain = Image.frombytes("L", image.size, grains).convert("RGB")
    buffer = BytesIO()
    Image.blend(image, grain, _GRAIN).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
