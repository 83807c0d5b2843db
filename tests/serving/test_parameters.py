"""A law over hostile values: no value of any parameter or header fails in the worker."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from safelight.metrics.catalog import CIRCUIT_OPEN
from safelight.serving.app import Service
from safelight.stack.tools.samples import photo
from tests.reading import value
from tests.serving.running import PAINTER, client, engine

PICTURE = photo(32, 32)
TEXTS = (
    *("", " ", "-1", "0", "1e400", "NaN", "-inf", "0x10", "1_0", "٣", "true", "null", "[]", "\0"),
    *(
        "9" * 5000,
        "1" + "0" * 400,
        "0." + "0" * 400 + "1",
        "x" * 20_000,
        "\u202e\ufeff",
        "\U0001d54f" * 300,
    ),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    *(
        None,
        True,
        False,
        [],
        {},
        [[]],
        {"a": 1},
        -1,
        0,
        2**32,
        2**63,
        -(2**63),
        1e308,
        -1e-308,
        1.5,
    ),
)
FIELDS = (
    *("prompt", "instruction", "negative_prompt", "guidance_scale", "seed", "steps", "top"),
    *("image_guidance_scale", "width", "height", "size", "n", "response_format", "output_format"),
    *("stream", "model", "user", "quality", "image", "\0", "x" * 5000),
)
IN_FORMS = ("instruction", "prompt", "steps", "seed", "size", "n", "top", "unknown")
HEADERS = ("x-request-timeout", "x-priority", "x-request-id", "accept", "content-type")
REFUSED = (400, 401, 404, 408, 413, 415, 422)
MODEL: dict[str, Any] = {"devices": "cpu", "structure_floor": 0.0}
Routes = tuple[tuple[str, dict[str, Any]], ...]
EDITS: Routes = (("/api/edit", {"instruction": "old"}), ("/v1/images/edits", {"prompt": "old"}))
GENERATIONS: Routes = (
    ("/generate", {"prompt": "a man"}),
    ("/v1/images/generations", {"prompt": "a man"}),
)
FAMILIES: dict[str, tuple[Routes, tuple[str, ...]]] = {
    PAINTER: (EDITS, FIELDS),  # it reads no text, and is fast
    "demo-edit": (EDITS[:1], FIELDS[1:4]),
    "demo-generate": (GENERATIONS, FIELDS),
    "demo-recognize": ((("/predict", {}),), FIELDS),
}


def hostile(path: str, good: dict[str, Any], fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield requests as arguments of `httpx`, each with one hostile value."""
    reads = "generat" not in path
    small: dict[str, Any] = {"width": 32, "height": 32} if path == "/generate" else {}
    small |= {"size": "32x32"} if path.endswith("generations") else {}
    small |= {"steps": 1} if path != "/predict" else {}
    picture = {"image": b64encode(PICTURE).decode()} if reads else {}
    fine = {**picture, **good, **small}
    yield from ({"json": {**fine, field: wrong}} for field in fields for wrong in VALUES)
    for name in HEADERS if fields is FIELDS else ():
        plain = (text for text in TEXTS if text.isascii() and text.isprintable())
        yield from ({"json": fine, "headers": {name: text}} for text in plain)
    if reads and fields is FIELDS:
        yield from outside_json({**good, **small})


def outside_json(fine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield forms and queries with hostile values."""
    files = {"image": ("p.jpg", PICTURE, "image/jpeg")}
    head = {"content-type": "image/jpeg"}
    for field in IN_FORMS:
        for text in TEXTS:
            yield {"data": {**fine, field: text}, "files": files}
            yield {"params": {**fine, field: text}, "content": PICTURE, "headers": head}


@pytest.mark.parametrize("model", FAMILIES)
async def test_no_value_of_a_parameter_or_header_fails_in_the_worker(model: str) -> None:
    async with engine(seconds=120, model=model, **MODEL) as service, client(service) as speaking:
        routes, fields = FAMILIES[model]
        for path, good in routes:
            served = 0
            for sent in hostile(path, good, fields):
                answer = await speaking.post(path, **sent)
                assert answer.status_code == 200 or answer.status_code in REFUSED, (
                    path,
                    str(sent)[-300:],
                    answer.text,
                )
                served += answer.status_code == 200
            assert served > 10
        assert value(service.meter, CIRCUIT_OPEN) == 0
        await others_are_served(service, speaking)


async def others_are_served(service: Service, speaking: httpx.AsyncClient) -> None:
    """Check that the worker that served the hostile requests still serves."""
    assert service.pool.ready
    assert (await speaking.get("/readyz")).status_code == 200
