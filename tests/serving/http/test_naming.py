"""Request ids across owners: nobody reads or changes what is not theirs by sending its id."""

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from safelight.metrics.catalog import IMAGES, IN_FLIGHT, REQUESTS
from safelight.serving.app import Service
from safelight.serving.http.keys import hashed
from tests.reading import value
from tests.records.making import rows
from tests.serving.conftest import serving, until
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER, client, edit, engine, eventually, with_engine

KEYS = f"ann={hashed('sl-ann')},bob={hashed('sl-bob')}"
ANN = {"authorization": "Bearer sl-ann"}
BOB = {"authorization": "Bearer sl-bob"}
SERVER = "x-safelight-request-id"


def jobs_made(service: Service) -> float:
    return value(service.meter, IMAGES)


async def test_without_an_id_of_the_caller_both_headers_have_the_servers() -> None:
    async with engine() as service, client(service) as speaking:
        for headers in ({}, {"x-request-id": "my picture of Anna"}):
            answer = await edit(speaking, headers=headers)
            assert answer.headers["x-request-id"] == answer.headers[SERVER]
            assert len(answer.headers[SERVER]) == 32


async def test_an_error_has_both_ids_too() -> None:
    async with engine() as service, client(service) as speaking:
        key = str(uuid4())
        answer = await edit(speaking, steps=0, headers={"x-request-id": key})
        assert answer.json()["request_id"] == answer.headers["x-request-id"] == key
        assert len(answer.headers[SERVER]) == 32


@pytest.mark.parametrize("by", ["x-request-id", SERVER])
def test_the_owner_rates_and_deletes_by_either_id_also_after_a_restart(
    by: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "records_url": f"sqlite:///{tmp_path / 'records.db'}",
        "api_keys": KEYS,
    }
    names: list[str] = []
    key = str(uuid4())

    async def before(service: Service) -> None:
        async with client(service) as speaking:
            made = await edit(speaking, headers={**ANN, "x-request-id": key})
            names.append(made.headers[by])
            rated = await rate(speaking, names[0], ANN, 2)
            assert (rated.status_code, rated.json()["changed"]) == (200, False)

    async def after(service: Service) -> None:
        async with client(service) as speaking:
            path = f"/v1/requests/{names[0]}/record"
            assert (await rate(speaking, names[0], BOB, 1)).status_code == 404
            assert (await speaking.delete(path, headers=BOB)).status_code == 404
            rated = await rate(speaking, names[0], ANN, 5)
            assert (rated.status_code, rated.json()["changed"]) == (200, True)
            assert (await rate(speaking, names[0].upper(), ANN, 5)).status_code == 200
            assert (await speaking.delete(path, headers=ANN)).status_code == 200
            assert (await speaking.delete(path, headers=ANN)).status_code == 404

    with_engine(before, **settings)
    [record] = rows(settings["records_url"], "requests")
    assert record["caller_key"] == key
    assert record["request_id"] != key
    with_engine(after, **settings)
    assert rows(settings["records_url"], "requests") == []
    assert rows(settings["records_url"], "ratings") == []


async def rate(
    speaking: httpx.AsyncClient, name: str, headers: dict[str, str], rating: int
) -> httpx.Response:
    path = f"/v1/requests/{name}/rating"
    return await speaking.post(path, json={"rating": rating}, headers=headers)


@pytest.mark.parametrize("stolen", ["x-request-id", SERVER])
def test_a_caller_who_sends_anothers_id_touches_nothing_of_that_caller(
    stolen: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    names: dict[str, str] = {}

    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            made = await edit(speaking, headers={**ANN, "x-request-id": str(uuid4())})
            names["ann"] = made.headers[SERVER]
            theft = {**BOB, "x-request-id": made.headers[stolen]}
            for instruction, status in (("make him young", 200), ("raise", 409), ("", 409)):
                answer = await edit(speaking, instruction, headers=theft)
                assert answer.status_code == status
                assert answer.headers[SERVER] != names["ann"]
                assert answer.content != made.content
            assert service.engine._number == 2  # hers, and his own
            mine = f"/v1/requests/{made.headers[stolen]}"
            assert (await rate(speaking, made.headers[stolen], BOB, 1)).json()["changed"] is False
            assert (await speaking.delete(f"{mine}/record", headers=BOB)).status_code == 200
            assert (await rate(speaking, made.headers[stolen], ANN, 4)).json()["changed"] is False

    with_engine(scenario, api_keys=KEYS, records_url=url)
    [left] = [row for row in rows(url, "requests") if row["status_code"] == 200]
    assert left["request_id"] == names["ann"]
    assert [(row["request_id"], row["rating"]) for row in rows(url, "ratings")] == [
        (names["ann"], 4)
    ]


@pytest.mark.parametrize("is_key", [True, False])
async def test_a_running_request_is_not_followed_cancelled_or_joined_by_another_caller(
    is_key: bool,
) -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        key = str(uuid4())
        sent = asyncio.create_task(
            edit(speaking, "slowly", steps=100, headers={**ANN, "x-request-id": key})
        )
        await eventually(lambda: service.engine.in_progress == 1)
        [server_id] = service.front.requests._jobs
        name = key if is_key else server_id
        for method, path in (("GET", "/events"), ("DELETE", ""), ("DELETE", "/record")):
            answer = await speaking.request(method, f"/v1/requests/{name}{path}", headers=BOB)
            assert answer.status_code == 404
        assert not sent.done()
        own = await edit(speaking, "slowly", steps=100, headers={**BOB, "x-request-id": name})
        made = await sent
        assert (own.status_code, made.status_code) == (200, 200)
        assert own.headers[SERVER] != made.headers[SERVER] == server_id
        assert own.content != made.content  # another seed: it was not joined


@pytest.mark.parametrize("is_key", [True, False])
async def test_the_owner_cancels_by_either_id(is_key: bool) -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        key = str(uuid4())
        sent = asyncio.create_task(
            edit(speaking, "slowly", steps=100, headers={**ANN, "x-request-id": key})
        )
        await eventually(lambda: service.engine.in_progress == 1)
        [server_id] = service.front.requests._jobs
        cancelled = await speaking.delete(
            f"/v1/requests/{key if is_key else server_id}", headers=ANN
        )
        assert cancelled.status_code == 202
        assert (await sent).json()["reason"] == "cancelled"


# ── Repeats ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_repeated_request_is_answered_alike_and_its_work_is_done_once() -> None:
    async with engine() as service, client(service) as speaking:
        again: dict[str, Any] = {"headers": {"x-request-id": str(uuid4())}}
        answers = await asyncio.gather(*(edit(speaking, "slowly", steps=5, **again) for _ in "123"))
        answers.append(await edit(speaking, "slowly", steps=5, **again))

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len({answer.headers["x-safelight-seed"] for answer in answers}) == 1
        assert len({answer.headers[SERVER] for answer in answers}) == 4
        assert jobs_made(service) == service.engine._number == 1
        assert value(service.meter, REQUESTS) == 4


@pytest.mark.parametrize("route", ["/api/edit", "/v1/images/edits"])
async def test_an_id_that_is_used_again_for_another_request_is_refused_with_409(route: str) -> None:
    async with engine() as service, client(service) as speaking:
        key, text = str(uuid4()), "prompt" if route.startswith("/v1") else "instruction"

        async def ask(instruction: str) -> httpx.Response:
            return await speaking.post(
                route,
                data={text: instruction, "steps": "5"},
                files={"image": ("p.jpg", PICTURE, "image/jpeg")},
                headers={"x-request-id": key},
            )

        first = asyncio.create_task(ask("slowly"))
        await eventually(lambda: service.engine.in_progress == 1)
        refused = [await ask("make him old")]
        made = await first
        refused.append(await ask("make him old"))

        assert {answer.status_code for answer in refused} == {409}
        assert all("request_id_conflict" in answer.text for answer in refused)
        assert made.status_code == 200
        assert (await ask("slowly")).content == made.content  # with another boundary
        assert service.engine._number == 1
        assert (await rate(speaking, key, {}, 4)).status_code == 200


async def test_a_failed_request_is_done_again_when_it_is_repeated() -> None:
    async with engine() as service, client(service) as speaking:
        again: dict[str, Any] = {"headers": {"x-request-id": str(uuid4())}}
        for _ in range(2):
            assert (await edit(speaking, "raise", **again)).status_code == 500
        assert service.engine._number == 2


async def test_what_a_caller_deletes_is_not_sent_again_from_memory() -> None:
    async with engine() as service, client(service) as speaking:
        again: dict[str, Any] = {"headers": {"x-request-id": str(uuid4())}}
        await edit(speaking, **again)
        path = f"/v1/requests/{again['headers']['x-request-id']}/record"
        assert (await speaking.delete(path)).status_code == 200
        await edit(speaking, **again)
        assert service.engine._number == 2


def test_the_work_goes_on_if_the_first_connection_breaks_and_a_repeat_waits(tmp_path: Path) -> None:
    key = str(uuid4())
    headers = {"content-type": "image/jpeg", "x-request-id": key}
    with serving(tmp_path, PAINTER, structure_floor="0") as service:
        sent: dict[str, Any] = {
            "url": f"{service.url}/api/edit",
            "params": {"instruction": "slowly", "steps": 100},
            "content": PICTURE,
            "headers": headers,
        }
        made: list[httpx.Response] = []
        first = httpx.Client(timeout=httpx.Timeout(60, read=1.5))
        second = threading.Thread(target=lambda: made.append(httpx.post(**sent, timeout=60)))

        def leave() -> None:
            with pytest.raises(httpx.ReadTimeout):
                first.post(**sent)

        leaving = threading.Thread(target=leave)
        leaving.start()
        assert until(lambda: service.value(f"instructpix2pix_{IN_FLIGHT.name}") == 1, 10)
        second.start()
        leaving.join()
        first.close()
        second.join()
        assert made[0].status_code == 200
        assert service.value(f"instructpix2pix_{IMAGES.name}") == 1
        assert service.value("instructpix2pix_request_total", error="cancelled") == 1
        again = httpx.post(**sent, timeout=60)
        assert again.content == made[0].content
        rated = httpx.post(f"{service.url}/v1/requests/{key}/rating", json={"rating": 4})
        assert rated.status_code == 200
