"""What a request holds is freed with its response, and not by a garbage collection later."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from python_multipart.multipart import File, FormParser

from safelight.serving.app import Service
from safelight.serving.job import Job
from tests.serving.jobs import PICTURE
from tests.serving.running import client, engine, eventually

pytestmark = pytest.mark.anyio
JPEG = {"content-type": "image/jpeg"}


def photograph(instruction: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a request for 20 steps."""
    params = {"instruction": instruction, "steps": 20}
    return {"content": PICTURE, "headers": {**JPEG, **(headers or {})}, "params": params}


# What a caller sends, and the status of the response.
REQUESTS: dict[str, tuple[dict[str, Any], int]] = {
    "a good image": ({"content": PICTURE, "headers": JPEG}, 200),
    "a good form": ({"files": {"image": PICTURE}}, 200),
    "no image": ({"content": b"hello " * 50, "headers": JPEG}, 422),
    "a form with two images": ({"files": [("image", PICTURE), ("image", PICTURE)]}, 400),
    "a form with a mask": ({"files": {"image": PICTURE, "mask": PICTURE}}, 400),
    "a model that fails": (photograph("raise"), 500),
    "a slow model": (photograph("slowly"), 200),
    "a slow model and a key": (photograph("slowly", {"x-request-id": "mine"}), 200),
    "a short deadline": (photograph("slowly", {"x-request-timeout": "0.05"}), 504),
    "a deadline": (photograph("slowly", {"x-request-timeout": "0.2"}), 504),
    "a damaged image": ({"content": PICTURE[:-200], "headers": JPEG}, 422),
}


@pytest.fixture
def older() -> Iterator[list[object]]:
    """Return what other tests hold, and let the garbage collector free nothing during a test."""
    gc.collect()
    gc.disable()
    yield holding()
    gc.enable()


def holding() -> list[object]:
    """Return all objects that hold the data of a request."""
    return [each for each in gc.get_objects() if type(each) in (Job, FormParser, File)]


async def send(service: Service, request: dict[str, Any]) -> int:
    async with client(service) as http:
        params = {"instruction": "make him old", "steps": 2, **request.pop("params", {})}
        return (await http.post("/api/edit", params=params, **request)).status_code


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_is_freed_with_its_response(kind: str, older: list[object]) -> None:
    request, status = REQUESTS[kind]
    async with engine() as service:
        assert await send(service, {**request}) == status
        await eventually(lambda: len(holding()) == len(older), seconds=10)
