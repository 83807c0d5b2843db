"""OpenAI's own Python client against a real service."""

import asyncio
import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from PIL import Image

from safelight.metrics.catalog import DEVICE_SECONDS
from safelight.stack.tools.samples import photo
from tests.asking import HTTP
from tests.serving.conftest import RealService, until
from tests.serving.jobs import PICTURE

IN_FLIGHT = "instructpix2pix_requests_in_flight"


@pytest.fixture
def speaking(service: RealService) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def pictured(encoded: str | None) -> Image.Image:
    assert encoded is not None
    return Image.open(BytesIO(base64.b64decode(encoded)))


FAST: dict[str, Any] = {"extra_body": {"steps": 2}}


def test_the_client_edits_an_image(speaking: openai.OpenAI) -> None:
    answer = speaking.images.edit(
        model="demo-edit", image=("p.jpg", PICTURE, "image/jpeg"), prompt="make him old", **FAST
    )
    assert answer.data is not None
    assert pictured(answer.data[0].b64_json).size == (64, 64)
    assert answer.created > 1_700_000_000


def test_several_images_differ_and_come_in_one_response(speaking: openai.OpenAI) -> None:
    answer = speaking.images.edit(
        image=("p.jpg", PICTURE, "image/jpeg"), prompt="make him old", n=3, **FAST
    )
    assert answer.data is not None
    assert len({image.b64_json for image in answer.data}) == 3


def test_an_image_can_be_had_by_its_address(speaking: openai.OpenAI) -> None:
    answer = speaking.images.edit(
        image=("p.jpg", PICTURE, "image/jpeg"), prompt="x", response_format="url", **FAST
    )
    assert answer.data is not None
    url = answer.data[0].url
    assert url is not None
    assert Image.open(BytesIO(HTTP.get(url).content)).size == (64, 64)
    assert HTTP.get(url + "x").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": ("p.jpg", b"no image", "image/jpeg")},
        {"prompt": ""},
        {"n": 11},
        {"size": "huge"},
        {"response_format": "gif"},
        {"extra_body": {"steps": 0}},
        {"extra_body": {"colour": "red"}},
        {"size": "0x64"},
        {"size": "1x1"},
        {"size": "1x1024"},
        {"stream": True},
        {"output_format": "jpeg"},
        {"mask": ("m.png", PICTURE, "image/png")},
    ],
    ids=str,
)
def test_bad_input_is_a_bad_request_error(speaking: openai.OpenAI, wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"image": ("p.jpg", PICTURE, "image/jpeg"), "prompt": "make him old"}
    with pytest.raises(openai.BadRequestError) as refused:
        speaking.images.edit(**{**good, **wrong})
    body: Any = refused.value.body
    assert body["type"] == "invalid_request_error"
    assert body["code"]
    assert body["message"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [("auto", (64, 48)), ("48x48", (48, 36)), ("128x48", (64, 48)), ("96x4096", (96, 72))],
)
def test_an_edit_fits_into_the_requested_size_and_keeps_its_aspect_ratio(
    speaking: openai.OpenAI, size: Any, expected: tuple[int, int]
) -> None:
    answer = speaking.images.edit(
        image=("p.jpg", photo(64, 48), "image/jpeg"), prompt="make him old", size=size, **FAST
    )
    assert answer.data is not None
    assert pictured(answer.data[0].b64_json).size == expected


def test_null_fields_are_ignored(service: RealService) -> None:
    sent = {
        "image": base64.b64encode(PICTURE).decode(),
        "prompt": "make him old",
        "n": None,
        "response_format": None,
        "size": None,
        "stream": None,
    }
    answer = HTTP.post(f"{service.url}/v1/images/edits", json=sent)
    assert answer.status_code == 200, answer.text


def test_a_model_that_edits_generates_nothing(speaking: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not generate"):
        speaking.images.generate(prompt="a cat", size="1024x1024")


async def known(speaking: httpx.AsyncClient, name: str) -> None:
    """Cancel a request as soon as it is known."""
    while (await speaking.delete(f"/v1/requests/{name}")).status_code == 404:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def test_a_request_is_cancelled_by_its_id_and_by_leaving(service: RealService) -> None:
    name = str(uuid4())
    cancelled = f"instructpix2pix_{DEVICE_SECONDS.name}"
    before = service.value(cancelled, use="cancelled")

    async def scenario() -> None:
        long: dict[str, Any] = {"extra_body": {"steps": 100}, "image": ("p.jpg", PICTURE)}
        async with openai.AsyncOpenAI(
            base_url=f"{service.url}/v1", api_key="none", max_retries=0
        ) as client:
            asked = client.images.edit(
                **long, prompt="make him old", extra_headers={"X-Request-Id": name}
            )
            task = asyncio.create_task(asked)
            async with httpx.AsyncClient(base_url=service.url) as other:
                await known(other, name)
            with pytest.raises(openai.APIStatusError) as stopped:
                await task
            assert stopped.value.status_code == 499

            leaving = asyncio.create_task(client.images.edit(**long, prompt="make him old"))
            assert await asyncio.to_thread(until, lambda: service.value(IN_FLIGHT) == 1, 5)
            leaving.cancel()

    asyncio.run(scenario())
    assert until(lambda: service.value(IN_FLIGHT) == 0, 5)
    assert until(lambda: service.value(cancelled, use="cancelled") > before, 5)
    assert service.value("instructpix2pix_request_total", error="cancelled") >= 2
    assert service.edit().status_code == 200
