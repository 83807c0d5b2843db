"""Ratings and the wish to be forgotten, over HTTP, with a database, without, and with it away."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from safelight.metrics.catalog import REJECTED, USER_RATING
from safelight.metrics.registry import parse, where
from safelight.records.backup import back_up, restore
from safelight.records.database import open_database
from safelight.serving.app import Service
from safelight.serving.http.keys import hashed
from tests.records.making import rows
from tests.serving.running import client, edit, eventually, with_engine
from tests.telemetry.received import roots
from tests.telemetry.receiver import http_receiver

KEYS = f"alice={hashed('sl-alice')},bob={hashed('sl-bob')}"
ALICE = {"authorization": "Bearer sl-alice"}
BOB = {"authorization": "Bearer sl-bob"}


def value(service: Service, name: str, **labels: str) -> float:
    samples = parse(service.meter.expose().body.decode())
    return sum(found for _, found in where(samples, f"tests_{name}", **labels))


async def rate(speaking: httpx.AsyncClient, request_id: str, body: Any, **more: Any) -> Any:
    return await speaking.post(f"/v1/requests/{request_id}/rating", json=body, **more)


async def edited(speaking: httpx.AsyncClient, **more: Any) -> str:
    answer = await edit(speaking, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-request-id"])


def test_z6_users_rate_an_image_once_and_change_their_mind(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"

    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            made = await edited(speaking)
            first = await rate(speaking, made, {"rating": 2, "reason": "artefacts"})
            again = await rate(speaking, made, {"rating": 5})
        assert first.json() == {
            "request_id": made,
            "rating": 2,
            "reason": "artefacts",
            "changed": False,
        }
        assert (again.status_code, again.json()["changed"]) == (200, True)
        assert value(service, f"{USER_RATING.name}_count", instruction_type="make_him_old") == 1

    with_engine(scenario, records_url=url)
    [record], [rating] = rows(url, "requests"), rows(url, "ratings")
    assert (rating["request_id"], rating["rating"]) == (record["request_id"], 5)
    assert record["prompt"] is None
    assert record["prompt_hash"]
    assert (record["namespace"], record["endpoint"]) == ("tests", "/api/edit")
    assert "127.0.0.1" not in str(record["owner_hash"])


@pytest.mark.parametrize(
    "body",
    [
        {"rating": 0},
        {"rating": 6},
        {"rating": -1},
        {"rating": 3.5},
        {"rating": "5"},
        {"rating": True},
        {"rating": None},
        {},
        [],
        5,
        "five",
        {"rating": 10**30},
        {"rating": 4, "reason": "because <b>I</b> say so"},
        {"rating": 4, "reason": None},
        {"rating": 4, "owner": "me"},
    ],
)
def test_an_invalid_rating_is_refused_with_422(body: Any) -> None:
    refuse({"json": body})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"rating": NaN}', b"x" * 5000])
def test_invalid_json_is_refused_with_422(content: bytes) -> None:
    refuse({"content": content})


def refuse(sent: dict[str, Any]) -> None:
    async def scenario(service: Service) -> None:
        service.ratings.add("one", "127.0.0.1", "add_hat", 4e9)
        async with client(service) as speaking:
            answer = await speaking.post("/v1/requests/one/rating", **sent)
        assert answer.status_code == 422, answer.text
        assert answer.json()["reason"] == "invalid_parameter"
        assert value(service, f"{USER_RATING.name}_count") == 0

    with_engine(scenario)


def test_unknown_foreign_and_failed_requests_are_all_not_found() -> None:
    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            made = await edited(speaking, headers=ALICE)
            failed = await edit(speaking, "black", headers=ALICE)
            assert failed.status_code == 502
            asked = (
                (uuid4().hex, ALICE),
                (made, BOB),
                (failed.headers["x-request-id"], ALICE),
                ("..%2f..", ALICE),
                ("x" * 1000, ALICE),
            )
            answers = [await rate(speaking, name, {"rating": 5}, headers=h) for name, h in asked]
            assert [answer.status_code for answer in answers] == [404] * len(answers)
            details = {a.json()["detail"] for a in answers if a.json()["reason"] == "not_found"}
            assert "The request does not exist, has expired, or is not yours." in details
            assert (await rate(speaking, made, {"rating": 5})).status_code == 401
            assert (await rate(speaking, made, {"rating": 5}, headers=ALICE)).status_code == 200

    with_engine(scenario, api_keys=KEYS)


def test_a_request_of_another_service_is_not_found_though_they_share_their_records(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    made: list[str] = []

    async def make(service: Service) -> None:
        async with client(service) as speaking:
            made.append(await edited(speaking))

    async def meddle(service: Service) -> None:
        async with client(service) as speaking:
            assert (await rate(speaking, made[0], {"rating": 5})).status_code == 404
            assert (await speaking.delete(f"/v1/requests/{made[0]}/record")).status_code == 404

    with_engine(make, records_url=url)
    with_engine(meddle, records_url=url, namespace="others")
    assert len(rows(url, "requests")) == 1
    assert rows(url, "ratings") == []


def test_an_id_with_a_nul_byte_is_refused_with_422_and_records_are_still_written(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"

    async def scenario(service: Service) -> None:
        async with client(service) as web:
            answers = [
                await rate(web, "a%00b", {"rating": 5}),
                await web.delete("/v1/requests/a%00b/record"),
            ]
            for answer in answers:
                assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter")
                assert "request id" in answer.json()["detail"]
            await edited(web)

    with_engine(scenario, records_url=url)
    assert len(rows(url, "requests")) == 1


def test_a_request_that_is_too_old_is_not_found() -> None:
    async def scenario(service: Service) -> None:
        service.ratings.add("old", "127.0.0.1", "add_hat", 0.0)
        async with client(service) as speaking:
            assert (await rate(speaking, "old", {"rating": 5})).status_code == 404

    with_engine(scenario)


def test_a_flood_of_ratings_meets_the_rate_limit_of_its_sender_alone() -> None:
    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            made = await edited(speaking, headers=ALICE)
            answers = [await rate(speaking, made, {"rating": 5}, headers=ALICE) for _ in range(30)]
            codes = [answer.status_code for answer in answers]
            assert codes[:10] == [200] * 10
            assert set(codes[11:]) == {429}
            assert int(answers[-1].headers["retry-after"]) >= 1
            assert (await rate(speaking, made, {"rating": 5}, headers=BOB)).status_code == 404
        assert value(service, REJECTED.name, reason="rate_limited") == codes.count(429)

    with_engine(scenario, api_keys=KEYS, rate_limit_per_minute=60)


def test_a_service_started_anew_still_knows_from_its_records_who_may_rate(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "records_url": f"sqlite:///{tmp_path / 'records.db'}",
        "api_keys": KEYS,
    }
    made = []

    async def before(service: Service) -> None:
        async with client(service) as speaking:
            made.append(await edited(speaking, headers=ALICE))
            await rate(speaking, made[0], {"rating": 1}, headers=ALICE)

    async def after(service: Service) -> None:
        async with client(service) as speaking:
            assert (await rate(speaking, made[0], {"rating": 3}, headers=BOB)).status_code == 404
            mine = await rate(speaking, made[0], {"rating": 3}, headers=ALICE)
            assert (mine.status_code, mine.json()["changed"]) == (200, True)

    with_engine(before, **settings)
    with_engine(after, **settings)
    assert [row["rating"] for row in rows(settings["records_url"], "ratings")] == [3]


def test_a_service_with_restored_records_knows_who_may_rate_and_delete(tmp_path: Path) -> None:
    old, new = (f"sqlite:///{tmp_path / name / 'records.db'}" for name in ("old", "new"))
    made = []

    async def before(service: Service) -> None:
        async with client(service) as speaking:
            made.append(await edited(speaking, headers=ALICE))
            await rate(speaking, made[0], {"rating": 1}, headers=ALICE)
            await eventually(lambda: bool(rows(old, "ratings")))
            database = open_database(old, migrate=False)  # the service still runs
            back_up(database, tmp_path / "backup.db", lambda *_: None)
            database.close()

    async def after(service: Service) -> None:
        path = f"/v1/requests/{made[0]}/record"
        async with client(service) as speaking:
            assert (await rate(speaking, made[0], {"rating": 3}, headers=BOB)).status_code == 404
            mine = await rate(speaking, made[0], {"rating": 3}, headers=ALICE)
            assert (mine.status_code, mine.json()["changed"]) == (200, True)
            assert (await speaking.delete(path, headers=BOB)).status_code == 404
            assert (await speaking.delete(path, headers=ALICE)).status_code == 200

    with_engine(before, records_url=old, api_keys=KEYS)
    restore(tmp_path / "backup.db", new, lambda *_: None)
    with_engine(after, records_url=new, api_keys=KEYS)
    assert [row["rating"] for row in rows(old, "ratings")] == [1]
    assert rows(new, "requests") == rows(new, "ratings") == []


def test_a_request_is_forgotten_by_its_owner_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"

    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            made, kept = [await edited(speaking, headers=ALICE) for _ in range(2)]
            await rate(speaking, made, {"rating": 4}, headers=ALICE)
            path = f"/v1/requests/{made}/record"
            assert (await speaking.delete(path, headers=BOB)).status_code == 404
            gone = await speaking.delete(path, headers=ALICE)
            assert (gone.status_code, gone.json()["status"]) == (200, "deleted")
            assert (await speaking.delete(path, headers=ALICE)).status_code == 404
            assert (await rate(speaking, made, {"rating": 4}, headers=ALICE)).status_code == 404
            service.ratings.forget(kept)  # as after a restart: the records say whose it is
            path = f"/v1/requests/{kept}/record"
            assert (await speaking.delete(path, headers=BOB)).status_code == 404
            assert (await speaking.delete(path, headers=ALICE)).status_code == 200

    with_engine(scenario, api_keys=KEYS, records_url=url)
    assert rows(url, "requests") == rows(url, "ratings") == []
    for file in tmp_path.iterdir():
        assert b"make_him_old" not in file.read_bytes(), f"{file.name} still has what was deleted"


def test_without_the_database_ratings_go_on_while_there_is_room_and_old_ones_are_503() -> None:
    async def scenario(service: Service) -> None:
        assert service.store is not None
        async with client(service) as speaking:
            made = await edited(speaking)
            assert (await rate(speaking, made, {"rating": 4})).status_code == 200
            another = await edited(speaking)
            service.store._buffer._capacity = 1
            refused = await rate(speaking, another, {"rating": 5})
            assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "30"
            assert value(service, f"{USER_RATING.name}_count") == 1
            unknown = await rate(speaking, uuid4().hex, {"rating": 4})
            assert (unknown.status_code, unknown.json()["reason"]) == (503, "overloaded")
            assert int(unknown.headers["retry-after"]) >= 1
            forgotten = await speaking.delete(f"/v1/requests/{made}/record")
            assert forgotten.status_code == 503
        await eventually(lambda: service.store is not None and service.store._failures > 0)

    with_engine(scenario, records_url="postgresql://postgres@127.0.0.1:1/nobody")


def test_without_records_a_request_is_deleted_from_memory() -> None:
    async def scenario(service: Service) -> None:
        assert service.store is None
        async with client(service) as speaking:
            made = await edited(speaking)
            path = f"/v1/requests/{made}/record"
            assert (await speaking.delete(path)).status_code == 200
            assert (await speaking.delete(path)).status_code == 404

    with_engine(scenario)


def test_the_api_describes_both_routes() -> None:
    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            paths = (await speaking.get("/openapi.json")).json()["paths"]
        body = paths["/v1/requests/{request_id}/rating"]["post"]["requestBody"]["content"]
        shape = body["application/json"]["schema"]["properties"]
        assert "wrong_edit" in shape["reason"]["enum"]
        assert (shape["rating"]["minimum"], shape["rating"]["maximum"]) == (1, 5)
        assert "delete" in paths["/v1/requests/{request_id}/record"]

    with_engine(scenario)


def test_a_bad_rating_keeps_the_trace_of_its_request_and_a_good_one_does_not() -> None:
    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            bad, good = await edited(speaking), await edited(speaking)
            service.traces._hold_at = 0.0
            deleted = await edited(speaking)
            for request_id, rating in ((bad, 2), (good, 3)):
                assert (await rate(speaking, request_id, {"rating": rating})).status_code == 200
            gone = await speaking.delete(f"/v1/requests/{deleted}/record")
            assert gone.status_code == 200, gone.text
            assert deleted not in service.traces._undecided
        service.traces.stop(20.0)
        assert roots(receiver).keys() == {bad}

    with http_receiver() as receiver:
        with_engine(scenario, otlp_endpoint=receiver.url, trace_ratio=0)
