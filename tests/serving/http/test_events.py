"""A request followed and cancelled from outside."""

import asyncio
import base64
import json
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
from PIL import Image

from safelight.serving.app import Service
from safelight.serving.http.events import follow
from safelight.serving.http.keys import hashed
from tests.serving.conftest import RealService, until
from tests.serving.jobs import PICTURE, a_job
from tests.serving.running import client, edit, engine, eventually

IN_FLIGHT = "instructpix2pix_requests_in_flight"

Event = tuple[str, dict[str, Any]]


def parsed(event: bytes) -> Event:
    name, _, data = event.decode().partition("\ndata: ")
    return name.removeprefix("event: "), json.loads(data)


async def events_of(service: Service, job: Any) -> list[Event]:
    return [parsed(event) async for event in follow(job, pulse_seconds=0.05) if event[:1] != b":"]


async def test_events_report_the_position_each_step_and_the_end() -> None:
    async with engine(batch_limit=1) as service:
        first = a_job("first", instruction="slowly", steps=10)
        second = a_job("second", instruction="slowly", steps=5, size=(128, 128))
        tasks = [asyncio.create_task(service.engine(job)) for job in (first, second)]
        await asyncio.sleep(0)
        listening = asyncio.create_task(events_of(service, second))
        await asyncio.gather(*tasks)
        second.progress.state = "done"
        second.progress.notify()
        events = await listening

        assert events[0][0] == "queued"
        steps = [data["step"] for name, data in events if name == "step"]
        assert steps[-5:] == [1, 2, 3, 4, 5] or steps == sorted(steps)
        assert max(steps) == 5
        assert all(data["steps"] == 5 for name, data in events if name == "step")
        assert events[-1][0] == "done"
        assert second.progress.listeners == []


def test_a_slow_reader_misses_steps_and_not_the_end() -> None:
    async def scenario() -> None:
        job = a_job()
        stream = follow(job, pulse_seconds=9)
        assert parsed(await anext(stream))[0] == "queued"
        job.progress.state, job.progress.steps = "running", 50
        for step in range(1, 50):
            job.progress.step = step
            job.progress.notify()
        assert parsed(await anext(stream)) == ("step", {"step": 49, "steps": 50})
        job.progress.state = "done"
        job.progress.notify()
        assert parsed(await anext(stream))[0] == "done"

    asyncio.run(scenario())


async def test_a_request_is_cancelled_by_its_id() -> None:
    async with engine() as service:
        name = str(uuid4())
        async with client(service) as speaking:
            sent = asyncio.create_task(
                edit(speaking, "slowly", steps=100, headers={"x-request-id": name})
            )
            await eventually(lambda: service.engine.in_progress == 1)
            cancelled = await speaking.delete(f"/v1/requests/{name}")
            answer = await sent
            again = await speaking.delete(f"/v1/requests/{name}")
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
        assert (answer.status_code, answer.json()["reason"]) == (499, "cancelled")
        assert (again.status_code, again.json()["reason"]) == (404, "not_found")


async def test_only_the_owner_follows_or_cancels_a_request() -> None:
    keys = f"a={hashed('mine')},b={hashed('other')}"
    async with engine(api_keys=keys) as service:
        name = str(uuid4())
        mine, other = ({"authorization": f"Bearer {key}"} for key in ("mine", "other"))
        async with client(service) as speaking:
            sent = asyncio.create_task(
                edit(speaking, "slowly", steps=20, headers={**mine, "x-request-id": name})
            )
            await eventually(lambda: service.engine.in_progress == 1)
            refused = await speaking.delete(f"/v1/requests/{name}", headers=other)
            watched = await speaking.get(f"/v1/requests/{name}/events", headers=other)
            assert (await sent).status_code == 200
        assert refused.status_code == watched.status_code == 404


def test_a_real_edit_is_followed_with_previews(previewing: RealService) -> None:
    async def scenario() -> None:
        name = str(uuid4())
        async with httpx.AsyncClient(base_url=previewing.url, timeout=60) as speaking:
            params: dict[str, str | int] = {"instruction": "make him old", "steps": 30}
            head = {"x-request-id": name, "content-type": "image/jpeg"}
            sent = asyncio.create_task(
                speaking.post("/api/edit", params=params, content=PICTURE, headers=head)
            )
            assert await asyncio.to_thread(until, lambda: previewing.value(IN_FLIGHT) == 1, 5)
            async with speaking.stream("GET", f"/v1/requests/{name}/events") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                text = (await stream.aread()).decode()
            assert (await sent).status_code == 200
        events = [parsed(part.encode()) for part in text.split("\n\n") if part[:1] not in ("", ":")]
        previews = [data["image"] for kind, data in events if kind == "preview"]
        assert len(previews) >= 3
        picture = base64.b64decode(previews[0].removeprefix("data:image/jpeg;base64,"))
        assert Image.open(BytesIO(picture)).size == (8, 8)
        assert events[-1][0] == "done"

    asyncio.run(scenario())


async def test_many_streams_opened_at_once_are_no_more_than_the_share_of_a_caller() -> None:
    async with engine(batch_limit=1) as service, client(service) as speaking:
        name = str(uuid4())
        headers = {"x-request-id": name, "content-type": "image/jpeg"}
        params = {"instruction": "slowly", "steps": "30"}
        running = asyncio.create_task(
            speaking.post("/api/edit", content=PICTURE, params=params, headers=headers)
        )
        address = f"/v1/requests/{name}/events"
        answers = await asyncio.gather(*(speaking.get(address) for _ in range(60)))
        await running
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(200) == 16
        assert statuses.count(503) == 44
        assert (await speaking.get(address)).status_code == 404, "no place is held any more"
