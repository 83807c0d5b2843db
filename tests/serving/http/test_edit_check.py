"""Advice before an edit: measured on a real service, without its model."""

import asyncio
from base64 import b64encode
from threading import Event
from typing import Any

import httpx
import pytest
from PIL import Image

from safelight.errors import Overloaded
from safelight.metrics.catalog import BACKGROUNDS, HTTP_REQUESTS, REQUESTS
from safelight.serving.app import Service
from safelight.serving.http.edit_check import Lane, Look
from safelight.serving.http.keys import hashed
from safelight.settings import load
from safelight.stack.tools.samples import photo
from tests.quality.test_entropy import noise
from tests.reading import value
from tests.serving.conftest import RealService
from tests.serving.http.test_advice import BUSY, CALM, png
from tests.serving.http.test_responses import described, held
from tests.serving.running import PAINTER, client, edit, engine, eventually
from tests.serving.test_bad_input import CASES, Bad
from tests.stack import waiting

pytestmark = pytest.mark.anyio
PATH = "/api/edit/check"
PNG = {"content-type": "image/png"}
LOOK = Look((1, 1), 0.0, 0.0, 0.0)


async def check(speaking: httpx.AsyncClient, picture: bytes = BUSY, **more: Any) -> httpx.Response:
    headers = {**PNG, **more.pop("headers", {})}
    return await speaking.post(PATH, content=picture, params=more, headers=headers)


async def test_p14_a_busy_background_is_advised_about_before_the_edit_and_by_it_the_same() -> None:
    async with engine() as service, client(service) as speaking:
        before = await check(speaking)
        edited = await edit(speaking, picture=BUSY)
        as_json = await edit(speaking, picture=BUSY, headers={"accept": "application/json"})
        after = await check(speaking)
    first, second = before.json(), after.json()
    assert before.status_code == 200
    assert before.headers["x-safelight-advice"] == edited.headers["x-safelight-advice"]
    assert first["advice"] == as_json.json()["advice"]
    assert first["advice"] == [{"because": "busy-background", "try": "remove background"}]
    assert first["summary"] == "Busy background: try `remove background` first."
    assert first["background"] == {
        "kind": "busy",
        "entropy_bits": pytest.approx(10.65, abs=0.1),
        "limit_bits": 6.5,
        "edits": 0,
        "success_ratio": None,
    }
    assert second["background"]["edits"] == 2
    assert second["background"]["success_ratio"] == 1


async def test_a_calm_background_needs_no_advice_and_its_success_is_that_of_its_kind() -> None:
    async with engine() as service, client(service) as speaking:
        await edit(speaking, "nan", picture=CALM)
        await edit(speaking, picture=CALM)
        await edit(speaking, picture=CALM)
        await edit(speaking, picture=BUSY)
        answer = await check(speaking, CALM)
    found = answer.json()
    assert (found["advice"], found["summary"]) == ([], None)
    assert "x-safelight-advice" not in answer.headers
    background = found["background"]
    assert (background["kind"], background["entropy_bits"]) == ("calm", 0)
    assert (background["edits"], background["success_ratio"]) == (3, pytest.approx(2 / 3, abs=1e-3))


@pytest.mark.parametrize("side", [64, 512, 2048])
async def test_p14_noise_is_busy_at_every_size_for_a_check_and_for_an_edit(side: int) -> None:
    picture = png(noise(side))
    async with engine(image_side_pixels=64) as service, client(service) as speaking:
        found = (await check(speaking, picture)).json()
        edited = await edit(speaking, picture=picture)
        assert value(service.meter, BACKGROUNDS, background="busy") == 1
    assert found["background"]["entropy_bits"] > 10
    assert edited.headers["x-safelight-advice"].startswith("busy-background")
    image = found["image"]
    assert (image["width"], image["working_width"], image["working_height"]) == (side, 64, 64)


async def test_the_image_and_the_instruction_are_described() -> None:
    async with engine() as service, client(service) as speaking:
        white = (await check(speaking, png(Image.new("RGB", (96, 64), "white")))).json()
        typed = (await check(speaking, instruction="make him old", steps="3")).json()
    image = white["image"]
    assert (image["width"], image["height"]) == (96, 64)
    assert (image["brightness_ratio"], image["contrast_ratio"]) == (1, 0)
    assert white["instruction_type"] is None
    assert typed["instruction_type"] == "make_him_old"


async def test_a_form_and_json_are_read_too() -> None:
    async with engine() as service, client(service) as speaking:
        form = await speaking.post(PATH, files={"image": BUSY}, data={"instruction": "add a hat"})
        encoded = {"image": b64encode(BUSY).decode(), "instruction": "add a hat"}
        in_json = await speaking.post(PATH, json=encoded)
    assert form.json() == in_json.json()
    assert form.json()["instruction_type"] == "add_hat"


async def test_neither_the_model_nor_its_queue_sees_a_check_and_http_metrics_count_it() -> None:
    async with engine() as service, client(service) as speaking:
        running = asyncio.create_task(edit(speaking, "slowly", steps=12))
        await eventually(lambda: service.engine.in_progress > 0)
        statuses = [(await check(speaking)).status_code for _ in range(3)]
        assert statuses == [200] * 3
        assert service.engine.in_progress == 1, "the model is busy with the edit still"
        assert not running.done()
        await running
        assert value(service.meter, HTTP_REQUESTS, handler=PATH, method="POST") == 3
        assert value(service.meter, REQUESTS) == 1
        assert value(service.meter, BACKGROUNDS) == 1


SAME = [bad for bad in CASES if bad.name != "no instruction"]


@pytest.mark.parametrize("bad", SAME, ids=lambda bad: bad.name)
def test_a_bad_request_gets_the_error_that_the_edit_gets(service: RealService, bad: Bad) -> None:
    def ask(path: str) -> tuple[int, dict[str, Any]]:
        asked: dict[str, Any] = {"params": bad.params, "headers": bad.headers}
        answer = service.client.post(path, content=bad.content, **asked)
        problem = answer.json()
        problem.pop("request_id", None)
        return answer.status_code, problem

    def counted() -> float:
        return service.value("instructpix2pix_request_total")

    before = counted()
    assert ask(PATH) == ask("/api/edit")
    # A request is counted after its response was sent.
    waiting.eventually(lambda: counted() > before, within=10, what="the edit is counted")
    assert counted() == before + 1, "the edit only"


def test_an_edit_with_the_same_image_still_works_after_checks(service: RealService) -> None:
    headers = {"content-type": "image/jpeg"}
    checked = service.client.post(PATH, content=photo(640, 480), headers=headers)
    edited = service.edit(photo(640, 480))
    assert (checked.status_code, edited.status_code) == (200, 200)
    assert ("x-safelight-advice" in edited.headers) == bool(checked.json()["advice"])


async def test_the_answers_are_those_that_openapi_describes() -> None:
    async with engine(api_keys=f"alice={hashed('sl-alice')}") as service:
        async with client(service) as speaking:
            spec = (await speaking.get("/openapi.json")).json()
            key = {"authorization": "Bearer sl-alice"}
            answers = [
                await check(speaking, headers=key),
                await check(speaking, CALM, instruction="add a hat", headers=key),
                await check(speaking),
                await check(speaking, b"no picture", headers=key),
                await check(speaking, b"", headers=key),
                await check(speaking, headers={**key, "content-type": "text/plain"}),
            ]
            said = set(described(spec, answers[0])["headers"])
        assert [answer.status_code for answer in answers] == [200, 200, 401, 422, 400, 415]
        assert held(spec, answers[0]) == {name.lower() for name in said}
        for answer in answers[1:]:
            held(spec, answer)


async def test_a_caller_has_a_rate_for_checks_that_takes_nothing_from_that_of_edits() -> None:
    async with engine(rate_limit_per_minute=12) as service, client(service) as speaking:
        statuses = [(await check(speaking)).status_code for _ in range(4)]
        edited = await edit(speaking)
    assert statuses == [200, 200, 429, 429]
    assert edited.status_code == 200


async def test_a_service_that_stops_or_has_no_editor_says_so() -> None:
    service = Service(load(model=PAINTER, namespace="tests", records_url=""))
    async with client(service) as speaking:
        loading = await check(speaking)
        service.front.requests.drain()
        stopping = await check(speaking)
    assert (loading.status_code, loading.json()["reason"]) == (503, "not_ready")
    assert (stopping.status_code, stopping.json()["reason"]) == (503, "stopping")


async def test_a_lane_has_so_many_places_and_a_place_is_free_when_the_work_ends() -> None:
    lane, going = Lane(2, "test"), Event()

    def work() -> Look:
        going.wait(30)
        return LOOK

    tasks = [asyncio.create_task(lane.run(work)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="2 images are being checked"):
        await lane.run(work)
    tasks[0].cancel()  # its caller left, but the thread works on
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await lane.run(work)
    going.set()
    assert await tasks[1] == LOOK
    assert await lane.run(lambda: LOOK) == LOOK


async def test_a_flood_is_refused_with_a_reason_and_the_rest_is_answered() -> None:
    async with engine() as service, client(service) as speaking:
        picture = png(noise(1024))
        answers = await asyncio.gather(*(check(speaking, picture) for _ in range(30)))
        edited = await edit(speaking)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 30
    assert {(each.status_code, each.json()["reason"]) for each in refused} == {(503, "overloaded")}
    assert all(each.headers["retry-after"] == "1" for each in refused)
    assert edited.status_code == 200


async def test_a_large_image_is_measured_too_while_small_ones_are() -> None:
    async with engine() as service, client(service) as speaking:
        large, small = await asyncio.gather(
            check(speaking, photo(2400, 2400)), check(speaking, BUSY)
        )
    assert large.json()["image"]["width"] == 2400
    assert small.status_code == 200
