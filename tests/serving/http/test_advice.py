"""Warnings about an image in the response, and how the service counts such requests."""

from io import BytesIO
from typing import Any

import numpy
import openai
from PIL import Image

from safelight.metrics.catalog import (
    ASSESSMENTS,
    BACKGROUNDS,
    QUALITY_SCORE,
    REQUESTS,
    STRUCTURE,
    SUCCESSES,
)
from safelight.telemetry.assessment import Assessment
from tests.reading import series, value
from tests.serving.running import client, edit, engine, eventually

JSON = {"accept": "application/json"}


def png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


BUSY = png(Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")))
CALM = png(Image.new("RGB", (64, 64), "teal"))


async def test_p14_a_busy_background_is_advised_about_in_header_and_json() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            busy = await edit(speaking, picture=BUSY)
            as_json = (await edit(speaking, picture=BUSY, headers=JSON)).json()
            calm = await edit(speaking, picture=CALM)
        assert busy.status_code == 200
        assert busy.headers["x-safelight-advice"] == 'busy-background;try="remove background"'
        assert as_json["advice"] == [{"because": "busy-background", "try": "remove background"}]
        assert "x-safelight-advice" not in calm.headers
        assert value(service.meter, BACKGROUNDS, background="busy", outcome="succeeded") == 2
        assert value(service.meter, BACKGROUNDS, background="calm", outcome="succeeded") == 1


async def test_p14_success_by_background_counts_failures_after_decoding() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            failed = await edit(speaking, "nan", picture=BUSY)
            unread = await edit(speaking, picture=b"no picture")
        assert (failed.status_code, unread.status_code) == (502, 422)
        assert value(service.meter, BACKGROUNDS, background="busy", outcome="failed") == 1
        assert value(service.meter, BACKGROUNDS) == 1, "what was never read has no background"


async def test_p2_a_corrupted_edit_is_sent_with_a_warning_and_counted_as_failed() -> None:
    async with engine(structure_floor=0.1) as service:
        async with client(service) as speaking:
            destroyed = await edit(speaking, "make him old", picture=BUSY)
            as_json = (await edit(speaking, "make him old", picture=BUSY, headers=JSON)).json()
            free = await edit(speaking, "in the style of van gogh", picture=BUSY)
        assert (destroyed.status_code, destroyed.content[:4]) == (200, b"\x89PNG")
        assert destroyed.headers["x-safelight-warning"] == "structure_corruption"
        assert as_json["warnings"] == ["structure_corruption"]
        assert as_json["image"]
        assert "x-safelight-warning" not in free.headers, "a style need keep nothing"
        old = {"instruction_type": "make_him_old"}
        assert (
            value(service.meter, REQUESTS, **old, error="structure_corruption", status_code="200")
            == 2
        )
        assert value(service.meter, SUCCESSES, **old) == 0
        assert value(service.meter, SUCCESSES, instruction_type="change_style") == 1


async def test_a_floor_of_nothing_looks_for_no_corruption() -> None:
    async with engine(structure_floor=0) as service:
        async with client(service) as speaking:
            made = await edit(speaking, picture=BUSY)
        assert "x-safelight-warning" not in made.headers


async def test_openais_client_finds_the_same_in_headers_and_in_fields_that_it_does_not_know() -> (
    None
):
    async with engine(structure_floor=0.1) as service:
        async with client(service) as http:
            carrier: Any = http  # newer clients type it as another library's
            speaking = openai.AsyncOpenAI(
                base_url="http://localhost/v1", api_key="none", max_retries=0, http_client=carrier
            )
            raw = await speaking.images.with_raw_response.edit(
                image=("p.png", BUSY, "image/png"), prompt="make him old", n=2
            )
        made = raw.parse()
        assert len(made.data or ()) == 2
        assert raw.headers["x-safelight-warning"] == "structure_corruption"
        assert raw.headers["x-safelight-advice"].startswith("busy-background;")
        assert made.model_extra == {
            "warnings": ["structure_corruption"],
            "advice": [{"because": "busy-background", "try": "remove background"}],
            "degraded": [],
            "prompt_truncated": False,
        }
        assert value(service.meter, BACKGROUNDS) == 1, "one request, though two pictures"


async def test_z5_every_sampled_output_is_scored_and_passed_to_all_assessors() -> None:
    found: list[Assessment] = []

    def fails(_found: Assessment) -> None:
        raise RuntimeError("an assessor's own trouble")

    async with engine(quality_sample_ratio=1, samples=True) as service:
        service.pool._assessors = (fails, *service.pool._assessors, found.append)
        async with client(service) as speaking:
            made = await edit(speaking, "make him old", picture=CALM)
            assert made.status_code == 200
            await eventually(lambda: bool(found))
            broken: Any = await edit(speaking, "black", picture=CALM)
            assert broken.status_code == 502
            await eventually(lambda: len(found) >= 2)
        first, second = found[:2]
        assert (first.request_id, first.instruction_type, first.error) == (
            made.headers["x-safelight-request-id"],
            "make_him_old",
            "none",
        )
        assert first.score is not None
        assert first.structure is not None
        assert first.before.startswith(b"\xff\xd8")
        assert second.error == "invalid_output"
        assert value(service.meter, QUALITY_SCORE, "_count") == len(found)
        assert {"instruction_type": "make_him_old"} in series(service.meter, STRUCTURE, "_count")
        assert value(service.meter, ASSESSMENTS, outcome="assessed") == len(found)
