"""A law over many sizes: whatever size a caller sends, each family answers 2xx or a 4xx."""

import random
from collections import Counter
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.serving.running import client, engine

SIDES = (1, 2, 3, 7, 9, 16, 31, 32, 33, 40, 64, 100, 1000, 4096)
BOXES = ("1x1", "3x3", "7x9", "1x1024", "99999x1", "31x31", "32x32", "40x4000", "99999x99999")
WRONG = ("0x0", "-1x5", "1e9x2", "64", "64x", "64x64x64", "100000x64", "٣٣x٣٣", "x" * 5000)
NUMBERS: tuple[Any, ...] = (0, 11, -1, 1.5, 1e300, "1e3", "inf", "ten", "9" * 5000, [1], {})
PNG = {"content-type": "image/png"}
MODEL: dict[str, Any] = {"devices": "cpu", "structure_floor": 0.0, "breaker_failures": 1000}


def picture(width: int, height: int) -> bytes:
    """Return a PNG of noise."""
    noise = random.Random(width * height).randbytes(width * height * 3)
    buffer = BytesIO()
    Image.frombytes("RGB", (width, height), noise).save(buffer, "PNG")
    return buffer.getvalue()


def sizes(limit_pixels: int) -> list[tuple[int, int]]:
    return [(w, h) for w in SIDES for h in SIDES if w * h <= limit_pixels]


def judge(answers: dict[Any, httpx.Response]) -> Counter[int]:
    """Check that each answer is a success, or a refusal of the size that names what is allowed."""
    for asked, answer in answers.items():
        assert answer.status_code in (200, 400, 422), (asked, answer.text)
        if answer.status_code != 200:
            assert "invalid_parameter" in answer.text, (asked, answer.text)
    return Counter(answer.status_code for answer in answers.values())


async def test_no_image_of_any_size_fails_in_the_editor() -> None:
    async with engine(model="demo-edit", **MODEL) as service, client(service) as speaking:
        params: dict[str, Any] = {"instruction": "make him old", "steps": 1}
        answers: dict[Any, httpx.Response] = {
            size: await speaking.post(
                "/api/edit", params=params, content=picture(*size), headers=PNG
            )
            for size in sizes(100_000)
        }
        for width, height in ((64, 48), (32, 400)):
            files = {"image": ("p.png", picture(width, height), "image/png")}
            for size in (*BOXES, *WRONG):
                form = {"prompt": "make him old", "size": size, "steps": "1"}
                answers[width, height, size] = await speaking.post(
                    "/v1/images/edits", data=form, files=files
                )
        seen = judge(answers)
        assert min(seen[200], seen[400], seen[422]) > 10
        assert "from 32 to 64 pixels" in answers[64, 48, "1x1024"].text
        assert "from 32 to 64 pixels" in answers[1, 1000].text


async def test_no_image_of_any_size_fails_in_the_classifier() -> None:
    async with engine(model="demo-recognize", **MODEL) as service, client(service) as speaking:
        answers: dict[Any, httpx.Response] = {
            size: await speaking.post("/predict", content=picture(*size), headers=PNG)
            for size in sizes(100_000)
        }
        assert judge(answers)[200] == len(answers)


async def test_no_size_fails_in_the_generator() -> None:
    async with engine(model="demo-generate", **MODEL) as service, client(service) as speaking:
        answers: dict[Any, httpx.Response] = {}
        for width, height in sizes(20_000):
            asked = {"prompt": "a man", "steps": 1, "width": width, "height": height}
            answers[width, height] = await speaking.post("/generate", json=asked)
        for size in (*BOXES[:-1], *WRONG, "32x48", "48x48"):
            asked = {"prompt": "a man", "steps": 1, "size": size}
            answers[size] = await speaking.post("/v1/images/generations", json=asked)
        assert judge(answers)[200] > 3
        assert "from 32 to" in answers["1x1024"].text


@pytest.mark.parametrize("level", [4, 5])
async def test_no_size_fails_in_the_generator_under_load(level: int) -> None:
    async with (
        engine(model="demo-generate", degradation_level=level, **MODEL) as service,
        client(service) as speaking,
    ):
        answers = {
            side: await speaking.post(
                "/generate", json={"prompt": "a man", "steps": 1, "width": side, "height": 96}
            )
            for side in (32, 64, 80, 96, 112, 128, 176)
        }
        assert judge(answers) == {200: 7}


async def test_a_number_of_images_out_of_range_is_refused() -> None:
    async with engine(model="demo-generate", **MODEL) as service, client(service) as speaking:
        for n in NUMBERS:
            answer = await speaking.post("/v1/images/generations", json={"prompt": "a", "n": n})
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                400,
                "invalid_parameter",
            )
