"""What all routes to the model share: ids, deadlines, keys, stopping, and the one account."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from safelight.metrics.catalog import (
    IN_FLIGHT,
    QUEUE_DEPTH,
    QUEUED_WORK,
    REJECTED,
    REQUEST_SECONDS,
    REQUESTS,
    STAGE_SECONDS,
)
from safelight.metrics.metric import Metric
from safelight.serving.app import Service
from safelight.serving.http.keys import hashed
from safelight.serving.job import EditParameters, Served
from safelight.settings import load
from safelight.telemetry.record import Record
from tests.reading import series, value
from tests.serving.jobs import PICTURE, a_job
from tests.serving.running import PAINTER, client, edit, engine, eventually


async def test_the_caller_may_choose_the_id_if_it_is_a_uuid() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            wanted = str(uuid4())
            chosen = await edit(speaking, headers={"x-request-id": wanted})
            text = await edit(speaking, headers={"x-request-id": "my picture of Anna"})
        assert chosen.headers["x-request-id"] == wanted
        assert "Anna" not in text.headers["x-request-id"]
        assert text.status_code == 200


@pytest.mark.parametrize("asked", ["soon", "0", "-1", "nan", "inf", "601"])
async def test_an_invalid_timeout_header_is_refused(asked: str) -> None:
    async with engine() as service:
        async with client(service) as speaking:
            answer = await edit(speaking, headers={"x-request-timeout": asked})
        assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter")


async def test_a_callers_deadline_is_kept() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            late = await edit(speaking, "slowly", steps=100, headers={"x-request-timeout": "0.3"})
            fine = await edit(speaking, headers={"x-request-timeout": "5"})
        assert (late.status_code, late.json()["reason"]) == (504, "timeout")
        assert fine.status_code == 200


async def test_a_request_that_cannot_be_ready_in_time_is_refused_at_once() -> None:
    async with engine(batch_limit=1) as service:
        async with client(service) as speaking:
            for _ in range(3):
                await edit(speaking, "slowly", steps=30)  # learns: 0.6 s each
            busy = asyncio.create_task(edit(speaking, "slowly", steps=30))
            await eventually(lambda: service.engine.in_progress == 1)
            late = await edit(speaking, "slowly", steps=30, headers={"x-request-timeout": "0.7"})
            await busy
        assert (late.status_code, late.json()["reason"]) == (503, "overloaded")
        assert int(late.headers["retry-after"]) >= 1
        assert value(service.meter, REJECTED, reason="too_late") == 1


async def test_z8_no_more_than_so_many_requests_are_taken_at_once() -> None:
    async with engine(max_concurrent_requests=3) as service:
        async with client(service) as speaking:
            answers = await asyncio.gather(*(edit(speaking, "slowly", steps=10) for _ in range(8)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] * 3 + [503] * 5
        assert value(service.meter, REJECTED, reason="concurrency") == 5


@pytest.mark.parametrize(
    ("shown", "status"),
    [(None, 401), ("Bearer wrong", 401), ("Basic sl-key", 401), ("Bearer sl-key", 200)],
)
async def test_with_keys_only_those_who_have_one_may_call(shown: str | None, status: int) -> None:
    async with engine(api_keys=f"anna={hashed('sl-key')}") as service:
        headers = {"authorization": shown} if shown else {}
        async with client(service) as speaking:
            answer = await edit(speaking, headers=headers)
            health = await speaking.get("/healthz")
        assert answer.status_code == status
        assert health.status_code == 200
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["reason"] == "unauthorized"
            assert value(service.meter, REJECTED, reason="unauthorized") == 1


async def test_a_key_has_its_rate() -> None:
    async with engine(rate_limit_per_minute=6) as service:
        async with client(service) as speaking:
            answers = [await edit(speaking) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
        assert answers[1].json()["reason"] == "rate_limited"
        assert int(answers[1].headers["retry-after"]) > 1


async def test_bad_requests_count_and_a_caller_over_its_rate_is_refused_before_its_body() -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield PICTURE

    async with engine(rate_limit_per_minute=12) as service:
        async with client(service) as speaking:
            bad = [await edit(speaking, steps="many") for _ in range(2)]
            refused = await edit(speaking, picture=body())
        assert [answer.status_code for answer in bad] == [422, 422]
        assert refused.status_code == 429
        assert not read


async def test_an_unknown_priority_is_refused() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            answer = await edit(speaking, headers={"x-priority": "vip"})
        assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter")


async def test_a_request_for_another_task_is_refused() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            head = {"content-type": "image/jpeg"}
            predicted = await speaking.post("/predict", content=PICTURE, headers=head)
            generated = await speaking.post("/generate", json={"prompt": "a cat"})
        for answer in (predicted, generated):
            assert (answer.status_code, answer.json()["reason"]) == (404, "unsupported_task")
            assert "/api/edit" in answer.json()["detail"]


async def test_degraded_responses_have_a_header() -> None:
    async with engine(degradation_level=3) as service:
        async with client(service) as speaking:
            answer = await edit(speaking, steps=20)
        assert answer.headers["x-safelight-degraded"] == "fewer_steps"


async def test_an_unlucky_seed_is_tried_again_with_another() -> None:
    async with engine() as service:
        async with client(service) as speaking:
            answer = await edit(speaking, "unlucky", seed=2)
        assert answer.status_code == 200
        assert answer.headers["x-safelight-seed"] == "3"


async def test_a_stopping_service_refuses_new_requests_and_fails_unfinished_ones() -> None:
    async with engine(grace_seconds=2.0) as service:
        async with client(service) as speaking:
            running = asyncio.create_task(edit(speaking, "slowly", steps=20))
            endless = asyncio.create_task(edit(speaking, "slowly", steps=100, guidance_scale=2))
            await eventually(lambda: service.engine.in_progress == 2)
            service.drain()
            refused = await edit(speaking)
            ready = await speaking.get("/readyz")
            assert (await running).status_code == 200
            given_back = await endless
        for answer in (refused, ready, given_back):
            assert (answer.status_code, answer.json()["reason"]) == (503, "stopping")


# ── The Record and its law ───────────────────────────────────────────────────────────────────────

KINDS = ("good", "slow", "raise", "nan", "bad image", "bad field", "late", "leaves", "cancelled")


async def one(speaking: httpx.AsyncClient, kind: str, seed: int) -> None:
    """Send one request of a kind."""
    size = random.Random(seed).choice((2, 3, 4))
    try:
        match kind:
            case "good" | "raise" | "nan":
                await edit(speaking, kind if kind != "good" else "make him old", steps=size)
            case "slow":
                await edit(speaking, "slowly", steps=1)
            case "bad image":
                await speaking.post(
                    "/api/edit?instruction=x",
                    content=b"none",
                    headers={"content-type": "image/png"},
                )
            case "bad field":
                await edit(speaking, steps=0)
            case "late":
                await edit(speaking, "slowly", steps=9, headers={"x-request-timeout": "0.01"})
            case "leaves":
                async with asyncio.timeout(0.005):
                    await edit(speaking, "slowly", steps=9)
            case "cancelled":
                name = str(uuid4())
                sent = asyncio.create_task(
                    edit(speaking, "slowly", steps=9, headers={"x-request-id": name})
                )
                await asyncio.sleep(0)  # the request is sent, or waits, or runs: as it comes
                await speaking.delete(f"/v1/requests/{name}")
                await sent
    except TimeoutError:
        return


async def test_every_moment_of_thousands_of_requests_is_in_exactly_one_stage() -> None:
    records: list[Record] = []

    async with engine(seconds=120, breaker_failures=1000) as service:
        watch(service, records)
        chance = random.Random(20261121)
        async with client(service) as speaking:
            for _ in range(60):
                await asyncio.gather(*(one(speaking, chance.choice(KINDS), n) for n in range(50)))
        await eventually(lambda: service.engine.in_progress == 0)

        assert len(records) == 3000
        off = [r for r in records if abs(sum(r.stages.values()) - r.seconds) > 0.001]
        assert off == []
        assert all(seconds >= 0 for record in records for seconds in record.stages.values())
        assert {record.error for record in records} >= {
            "none",
            "model_error",
            "invalid_output",
            "not_an_image",
            "invalid_parameter",
            "cancelled",
            "overloaded",
        }
        in_stages = value(service.meter, STAGE_SECONDS, "_sum")
        assert in_stages == pytest.approx(value(service.meter, REQUEST_SECONDS, "_sum"), rel=1e-6)
        assert value(service.meter, REQUESTS) == 3000
        for gauge in (IN_FLIGHT, QUEUE_DEPTH, QUEUED_WORK):
            await eventually(partial(at_zero, service, gauge), 2)
        assert len(service.front.requests) == 0
        assert "slowly" not in str(series(service.meter, REQUESTS))


def at_zero(service: Service, gauge: Metric) -> bool:
    return value(service.meter, gauge) == 0


def watch(service: Service, records: list[Record]) -> None:
    """Have every Record kept beside what else becomes of it."""
    app: Any = service.app
    probe = app._app._app  # `Origins` and `Proxies` are around it
    write = probe._sink

    def sink(record: Record) -> None:
        records.append(record)
        write(record)

    probe._sink = sink


def test_the_models_own_parameters_are_taken_as_far_as_the_operator_allows() -> None:
    made = Served("generate", side=512, defaults={"steps": 50, "width": 512, "height": 512})
    front = Service(load(model=PAINTER, step_limit=30, image_side_pixels=250)).front
    assert front._defaults(made) == {"steps": 30, "width": 248, "height": 248}


def test_the_pace_of_uploads_is_that_of_the_settings() -> None:
    front = Service(load(model=PAINTER, upload_bytes_per_second=1000)).front
    for owner in ("modest", "greedy"):
        front.uploads.of(owner)
    assert front.uploads.pace.charge("greedy", 1500) == pytest.approx(1, abs=0.01)


def test_requests_with_and_without_a_negative_prompt_are_not_made_together() -> None:
    plain, other = a_job(), a_job()
    other.parameters = EditParameters(
        instruction="make him old", steps=2, negative_prompt="blurred"
    )
    assert plain.key != other.key
