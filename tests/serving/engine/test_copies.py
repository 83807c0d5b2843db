"""Copies to a second model, in a real service: what they find, and that no caller notices."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from safelight.records.queries import find_rows, sample_of
from safelight.serving.app import Service
from safelight.telemetry.counterpart import Counterpart
from tests.records.making import opened
from tests.serving.running import client, edit, engine, eventually
from tests.serving.second_models import SAME

pytestmark = pytest.mark.anyio
MODELS = "tests.serving.second_models"
EVERY: dict[str, Any] = {"shadow_ratio": 1.0, "shadow_seconds_per_hour": 3600.0}


async def ready(service: Service) -> None:
    """Wait for the second model. The service needs no rest before a copy."""
    await eventually(lambda: service.second.slot.ready)
    service.second.copies.rest.seconds = 0.0


async def idle(service: Service) -> None:
    await eventually(lambda: service.second.copies._task is None)


async def serve(service: Service, speaking: httpx.AsyncClient, number: int) -> None:
    """Send edits one after another; each may be copied before the next."""
    for seed in range(number):
        assert (await edit(speaking, seed=seed)).status_code == 200
        await idle(service)


async def shadow(speaking: httpx.AsyncClient) -> Any:
    return (await speaking.get("/v1/shadow")).json()


def row(state: Any, measure: str) -> Any:
    return next(
        r for r in state["rows"] if (r["measure"], r["instruction_type"]) == (measure, "all")
    )


async def test_an_equal_model_makes_the_same_images_and_nothing_is_decided() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        await serve(service, speaking, 24)
        state = await shadow(speaking)
        assert state["copies"]["compared"] == state["pairs"] == 24
        assert state["verdict"] == "undecided"
        assert row(state, "image_difference")["value"] == 0
        assert row(state, "score")["n"] == 24
        assert row(state, "validity")["value"] == 0
        assert row(state, "latency")["n"] == 11  # of 12 with a copy of A; the first run is cold


async def test_a_slower_model_is_found_and_the_test_ends_by_itself() -> None:
    async with engine(shadow=f"{MODELS}:slow", **EVERY) as service, client(service) as speaking:
        await ready(service)
        for seed in range(150):
            await edit(speaking, seed=seed)
            await idle(service)
            if service.second.copies.ended:
                break
        state = await shadow(speaking)
        assert state["verdict"] == "worse"
        assert row(state, "latency")["verdict"] == "worse"
        assert "decided" in state["ended"]
        await eventually(lambda: service.second.slot.state == "off")
        assert (await edit(speaking)).status_code == 200


@pytest.mark.parametrize("fault", ["failing", "black"])
async def test_a_model_that_makes_no_valid_image_is_worse(fault: str) -> None:
    async with engine(shadow=f"{MODELS}:{fault}", **EVERY) as service, client(service) as speaking:
        await ready(service)
        await serve(service, speaking, 24)
        state = await shadow(speaking)
        assert row(state, "validity")["value"] == -1
        assert state["verdict"] == "worse"


async def test_recognisers_are_compared_by_their_labels() -> None:
    models: dict[str, Any] = {"model": f"{MODELS}:cats", "shadow": f"{MODELS}:dogs"}
    async with engine(**models, **EVERY) as service, client(service) as speaking:
        await ready(service)
        from tests.serving.jobs import PICTURE

        for _ in range(30):
            headers = {"content-type": "image/jpeg"}
            answer = await speaking.post("/predict", content=PICTURE, headers=headers)
            assert answer.json()["labels"][0]["label"] == "cat"
            await idle(service)
        state = await shadow(speaking)
        assert row(state, "label_difference")["value"] == 1
        assert row(state, "calibration")["value"] == pytest.approx(0.9)


async def test_a_copy_has_the_input_the_seed_and_the_parameters_of_its_request() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        seen = []
        slot = service.second.slot
        first = slot.engine

        async def spying(job: Any) -> Any:
            seen.append(job)
            assert first is not None
            return await first(job)

        slot.engine = _Spy(first, spying)  # type: ignore[assignment]
        await edit(speaking, seed=77, steps=3)
        await idle(service)
        [job] = seen
        assert (job.seed, job.steps, job.use, job.owner) == (77, 3, "shadow", "")


class _Spy:
    def __init__(self, engine: Any, call: Any) -> None:
        self._engine, self._call = engine, call

    async def __call__(self, job: Any) -> Any:
        return await self._call(job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


async def test_other_steps_are_a_second_model_too() -> None:
    settings: dict[str, Any] = {"shadow": SAME, "shadow_steps": 1, **EVERY}
    async with engine(**settings) as service, client(service) as speaking:
        await ready(service)
        await edit(speaking, steps=5)
        await idle(service)
        assert service.second.copies.comparison.pairs == 1


async def test_a_request_stops_a_copy_at_its_next_step() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        await edit(speaking, "slowly", steps=20)
        copies = service.second.copies
        await eventually(lambda: copies._running is not None)
        answer = await edit(speaking, "make him old", steps=2)
        assert answer.status_code == 200
        await idle(service)
        assert copies.counts["stopped"] == 1
        assert copies.comparison.pairs <= 1  # of the second request


async def test_a_copy_begins_only_when_the_service_rested_for_a_while() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        copies, now = service.second.copies, [0.0]
        copies.rest.seconds, copies.rest.clock = 0.2, lambda: now[0]
        await edit(speaking)
        await eventually(lambda: copies.rest.is_wanted)
        now[0] = 0.19
        await edit(speaking, seed=5)  # it starts the rest anew
        now[0] = 0.38
        assert await still_waits(copies)
        now[0] = 0.4
        await idle(service)
        assert (copies.counts["dropped"], copies.counts["compared"]) == (1, 1)


async def still_waits(copies: Any) -> bool:
    """Return whether the copy looked at the clock again and waits on."""
    looked, clock = [], copies.rest.clock

    def looking() -> float:
        looked.append(1)
        return float(clock())

    copies.rest.clock = looking
    await eventually(lambda: len(looked) >= 2)
    return bool(copies.rest.is_wanted)


async def test_the_operator_is_told_that_the_service_is_never_idle_long_enough() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        service.second.copies.rest.clock = lambda: 0.0  # it never rests
        service.second.copies.rest.seconds = 1.0
        for seed in range(12):
            await edit(speaking, seed=seed)
        assert "never idle long enough" in (await shadow(speaking))["note"]


async def test_a_rollout_ends_a_copy_that_waits(tmp_path: Path) -> None:
    async with (
        engine(shadow=SAME, state_folder=tmp_path, **EVERY) as service,
        client(service) as speaking,
    ):
        await ready(service)
        copies = service.second.copies
        copies.rest.clock, copies.rest.seconds = lambda: 0.0, 1.0
        await edit(speaking)
        await eventually(lambda: copies.rest.is_wanted)
        assert (await speaking.post("/v1/rollout/start", json={"model": SAME})).status_code == 200
        await idle(service)
        assert copies.finished


async def test_a_long_copy_without_steps_is_dropped_if_requests_follow_fast() -> None:
    models: dict[str, Any] = {"model": f"{MODELS}:cats", "shadow": f"{MODELS}:dogs"}
    async with engine(**models, **EVERY) as service, client(service) as speaking:
        await ready(service)
        from tests.serving.jobs import PICTURE

        copies, now = service.second.copies, [0.0]
        copies.rest.clock = lambda: now[0]
        headers = {"content-type": "image/jpeg"}
        for _ in range(3):
            now[0] += 4.0
            copies._second_seconds = 0.5
            await speaking.post("/predict", content=PICTURE, headers=headers)
            await idle(service)
        first = copies.counts["compared"]
        assert (first, copies.counts["dropped"]) == (1, 2)  # no gap is known for the first one
        copies._second_seconds = 0.3
        now[0] += 4.0
        await speaking.post("/predict", content=PICTURE, headers=headers)
        await idle(service)
        assert copies.counts["compared"] == 2


async def test_the_device_time_of_copies_is_counted_as_shadow_and_for_no_request() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        await serve(service, speaking, 4)
        spent = service.engine.ledger.spent
        assert spent["shadow"] > 0
        page = (await speaking.get("/metrics")).text
        assert 'tests_device_seconds_total{use="shadow"}' in page
        assert 'tests_shadow_total{verdict="undecided"} 4' in page
        assert "tests_request_images_total" in page


@pytest.mark.parametrize("name", ["shadow_seconds_per_hour", "shadow_ratio"])
async def test_a_budget_or_a_share_of_0_copies_nothing_and_says_so(name: str) -> None:
    async with engine(shadow=SAME, **{**EVERY, name: 0.0}) as service, client(service) as speaking:
        await serve(service, speaking, 5)
        state = await shadow(speaking)
        assert state["copies"]["compared"] == 0
        assert name.upper() in state["ended"]
        assert service.second.slot.state == "off"


async def test_a_spent_budget_drops_copies() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        service.second.copies.budget.left = -1000.0
        await serve(service, speaking, 3)
        assert service.second.copies.counts["dropped"] == 3


async def test_a_deleted_request_has_no_pair_and_no_copy() -> None:
    async with engine(shadow=SAME, **EVERY) as service, client(service) as speaking:
        await ready(service)
        answer = await edit(speaking)
        await idle(service)
        copies = service.second.copies
        assert len(copies.recent) == 1
        assert (await forget(speaking, answer)).status_code == 200
        assert len(copies.recent) == 0
        answer = await edit(speaking, "slowly", steps=50)
        await eventually(lambda: copies._running is not None)
        assert (await forget(speaking, answer)).status_code == 200
        await idle(service)
        assert copies.comparison.pairs == 1


async def test_a_record_keeps_its_pair_and_both_images_after_a_restart_until_it_is_deleted(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    kept: dict[str, Any] = {"records_url": url, "samples": True, "quality_sample_ratio": 1.0}
    async with engine(shadow=SAME, **EVERY, **kept) as service, client(service) as speaking:
        await ready(service)
        answers = []
        for seed in range(4):
            answers.append(await edit(speaking, seed=seed))
            await idle(service)
        ids = [answer.headers["x-request-id"] for answer in answers]
        await eventually(lambda: all(recorded(url, name) for name in ids))
        first = recorded(url, ids[0])
        assert first["second_model"] == service.second.slot.described
        assert first["second_measures"]["image_difference"] == 0.0
        assert any(recorded(url, each)["second_measures"].get("latency", 0) > 0 for each in ids)
        before, after, second = images(url, ids[0])
        assert before
        assert after == second

    async with engine(**kept) as service, client(service) as speaking:
        assert recorded(url, ids[0]) == first
        assert (await forget(speaking, answers[0])).status_code == 200
        late = Counterpart(ids[0], "b", {"validity": 0.0}, second)
        assert service.store is not None
        service.store.compare(late)
        assert (await edit(speaking)).status_code == 200
        await eventually(lambda: service.store is not None and not service.store.waiting)
        assert recorded(url, ids[0]) == {}
        assert images(url, ids[0]) == (b"", b"", b"")
        assert recorded(url, ids[1])


def recorded(url: str, name: str) -> dict[str, Any]:
    """Return a compared request as the records have it; empty if they do not."""
    with opened(url) as database:
        rows = find_rows(database, name)
    return next((dict(row) for row in rows if "second_model" in row), {})


def images(url: str, name: str) -> tuple[bytes, bytes, bytes]:
    with opened(url) as database:
        return sample_of(database, name) or (b"", b"", b"")


async def test_without_samples_no_image_of_the_second_model_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    kept: list[Counterpart] = []
    async with (
        engine(shadow=SAME, records_url=url, **EVERY) as service,
        client(service) as speaking,
    ):
        await ready(service)
        service.second.copies.keep = kept.append
        await serve(service, speaking, 1)
    assert [(pair.image, pair.measures["validity"]) for pair in kept] == [(b"", 0.0)]


async def forget(speaking: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response:
    return await speaking.delete(f"/v1/requests/{answer.headers['x-request-id']}/record")


async def test_memory_that_the_second_model_takes_is_given_back_and_the_caller_gets_an_image() -> (
    None
):
    models: dict[str, Any] = {"model": f"{MODELS}:cramped", "shadow": SAME}
    async with engine(**models, **EVERY) as service, client(service) as speaking:
        await ready(service)
        answer = await edit(speaking, "tight fit")
        assert answer.status_code == 200
        state = await shadow(speaking)
        assert state["state"] == "failed"
        assert "out of memory" in state["problem"]


async def test_all_requests_that_are_out_of_memory_at_once_run_again() -> None:
    models: dict[str, Any] = {"model": f"{MODELS}:cramped", "shadow": SAME}
    async with engine(**models, **EVERY) as service, client(service) as speaking:
        await ready(service)
        answers = await asyncio.gather(
            *(edit(speaking, "tight fit", seed=seed, steps=2 + seed) for seed in range(4))
        )
        assert [answer.status_code for answer in answers] == [200] * 4
        assert service.second.slot.state == "failed"


async def test_who_is_out_of_memory_while_b_ends_waits_for_the_same_end() -> None:
    models: dict[str, Any] = {"model": f"{MODELS}:cramped", "shadow": SAME}
    async with engine(**models, **EVERY) as service:
        await ready(service)
        copies, pool = service.second.copies, service.second.slot.pool
        assert pool is not None
        found = await asyncio.gather(*(copies.out_of_memory() for _ in range(3)))
        assert found == [True] * 3
        assert pool.is_stopping
        assert not await copies.out_of_memory()


async def test_a_service_without_a_second_model_says_how_to_get_one() -> None:
    async with engine() as service, client(service) as speaking:
        answer = await speaking.get("/v1/shadow")
        assert answer.status_code == 409
        assert "--shadow" in answer.json()["detail"]
        assert "shadow_total" not in (await speaking.get("/metrics")).text
