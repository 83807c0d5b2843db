"""A rollout in a real service: no request fails or is doubled because of it."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from safelight.errors import InternalError, ModelError, SafelightError, Timeout, WorkerLost
from safelight.guard.rollout import Plan, Rollout
from safelight.serving.app import Service
from safelight.serving.policies.breaker import breaker
from tests.serving.jobs import a_job
from tests.serving.running import client, edit, engine, eventually
from tests.serving.second_models import SAME

pytestmark = pytest.mark.anyio
MODELS = "tests.serving.second_models"
ALL_AT_ONCE = (100,)


async def begin(
    service: Service,
    speaking: httpx.AsyncClient,
    steps: tuple[int, ...] = ALL_AT_ONCE,
    least: int = 5,
) -> Any:
    content = {"model": service.settings.shadow, "steps": list(steps), "least": least}
    answer = await speaking.post("/v1/rollout/start", json=content)
    if answer.status_code == 409:  # it loads for this rollout
        await eventually(lambda: service.second.slot.ready, 30)
        answer = await speaking.post("/v1/rollout/start", json=content)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def state(speaking: httpx.AsyncClient) -> Any:
    return (await speaking.get("/v1/rollout")).json()


def settings(folder: Path, second: str, **more: Any) -> dict[str, Any]:
    return {"shadow": second, "shadow_ratio": 0.0, "state_folder": folder, **more}


async def test_b_serves_its_callers_and_the_step_is_shown(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        answer = await begin(service, speaking)
        assert (answer["status"], answer["percent"]) == ("running", 100)
        for seed in range(4):
            assert (await edit(speaking, seed=seed)).status_code == 200
        rollout = service.second.split.rollout
        assert rollout is not None
        assert (rollout.b.n, rollout.a.n) == (4, 0)
        assert "tests_rollout_ratio 1.0" in (await speaking.get("/metrics")).text


@pytest.mark.parametrize("fault", ["failing", "black"])
async def test_a_bad_model_is_rolled_back_and_no_caller_sees_a_failure(
    fault: str, tmp_path: Path
) -> None:
    chosen = settings(tmp_path, f"{MODELS}:{fault}")
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking)
        for seed in range(12):
            assert (await edit(speaking, seed=seed)).status_code == 200
        found = await state(speaking)
        assert (found["status"], found["percent"]) == ("rolled_back", 0)
        last = found["decisions"][-1]
        assert "in a row" in last["reason"]
        assert last["figures"]["failures_b"] == 6  # of an owner without a record; then A serves
        await eventually(lambda: service.second.slot.state == "off")


async def test_the_record_of_an_owner_makes_a_rollback_faster(tmp_path: Path) -> None:
    chosen = settings(tmp_path, f"{MODELS}:failing")
    async with engine(**chosen) as service, client(service) as speaking:
        for seed in range(20):
            assert (await edit(speaking, seed=seed)).status_code == 200
        await begin(service, speaking)
        for seed in range(4):
            assert (await edit(speaking, seed=seed)).status_code == 200
        last = (await state(speaking))["decisions"][-1]
        assert (last["action"], last["figures"]["failures_b"]) == ("roll_back", 3)


async def test_the_owners_records_are_bounded_and_survive_a_restart(tmp_path: Path) -> None:
    chosen = settings(tmp_path, SAME)
    async with engine(**chosen) as service, client(service) as speaking:
        assert (await edit(speaking)).status_code == 200
        await begin(service, speaking)
        split = service.second.split
        for number in range(3000):
            job = a_job(f"request-{number}", owner=f"owner-{number}")
            split._cluster(job)
        assert len(split._clusters) == 1000
        assert split.rollout is not None
        record = split.rollout.before
        assert record.n == 1
    async with engine(**chosen) as service:
        assert service.second.split.rollout is not None
        assert service.second.split.rollout.before == record


async def test_the_queue_depth_counts_the_requests_that_wait_for_b(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        running = [
            asyncio.create_task(edit(speaking, "slowly", seed=seed, steps=10)) for seed in range(6)
        ]
        await eventually(lambda: service.second.slot.waiting > 0)
        assert service.engine.waiting == 0
        page = (await speaking.get("/metrics")).text
        [depth] = [line for line in page.splitlines() if line.startswith("tests_queue_depth ")]
        assert float(depth.split()[1]) > 0
        await asyncio.gather(*running)


async def test_a_rollback_is_counted_for_the_alert(tmp_path: Path) -> None:
    chosen = settings(tmp_path, f"{MODELS}:failing")
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking)
        assert "tests_rollbacks_total 0.0" in (await speaking.get("/metrics")).text
        for seed in range(8):
            await edit(speaking, seed=seed)
        assert "tests_rollbacks_total 1.0" in (await speaking.get("/metrics")).text


async def test_a_model_that_dies_costs_no_caller_anything(tmp_path: Path) -> None:
    chosen = settings(tmp_path, f"{MODELS}:dying", isolation="process")
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking)
        answers = await asyncio.gather(*(edit(speaking, seed=seed) for seed in range(12)))
        assert Counter(answer.status_code for answer in answers) == {200: 12}
        ids = {answer.headers["x-request-id"] for answer in answers}
        assert len(ids) == 12
        await eventually(lambda: service.second.slot.ready or not service.second.split.active)
        await service.second.slot.stop()


async def test_an_abort_in_the_middle_of_requests_fails_and_doubles_none(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        running = [
            asyncio.create_task(edit(speaking, "slowly", seed=seed, steps=10)) for seed in range(6)
        ]
        slot = service.second.slot
        await eventually(lambda: slot.engine is not None and slot.engine.in_progress > 0)
        assert (await speaking.post("/v1/rollout/abort")).json()["status"] == "aborted"
        answers = await asyncio.gather(*running)
        assert [answer.status_code for answer in answers] == [200] * 6
        page = (await speaking.get("/metrics")).text
        assert "tests_request_images_total" in page
        made = [line for line in page.splitlines() if line.startswith("tests_good_outputs_total{")]
        assert sum(float(line.split()[-1]) for line in made) == 6


async def test_jobs_that_wait_when_the_second_model_ends_are_run_by_the_first(
    tmp_path: Path,
) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        running = [
            asyncio.create_task(edit(speaking, "slowly", seed=seed, steps=10)) for seed in range(6)
        ]
        slot = service.second.slot
        await eventually(lambda: slot.engine is not None and slot.engine.in_progress > 0)
        await slot.stop()
        answers = await asyncio.gather(*running)
        assert [answer.status_code for answer in answers] == [200] * 6


async def test_a_restart_continues_at_the_same_step(tmp_path: Path) -> None:
    chosen = settings(tmp_path, SAME)
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking, (10, 50, 100))
        assert (await speaking.post("/v1/rollout/promote")).json()["percent"] == 50
    async with engine(**chosen) as service, client(service) as speaking:
        found = await state(speaking)
        assert (found["status"], found["percent"]) == ("running", 50)
        assert [each["action"] for each in found["decisions"]] == ["start", "promote"]
        await eventually(lambda: service.second.slot.ready)  # it loads by itself


async def test_the_state_of_another_model_or_a_broken_file_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rollout-tests.json"
    for content in (b"{", b'{"plan": 3}', b"[]"):
        file.write_bytes(content)
        async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
            assert (await state(speaking))["status"] == "none"
            assert (await edit(speaking)).status_code == 200
    async with engine(**settings(tmp_path, SAME)) as service:
        service.second.split.rollout = Rollout(Plan("another"))
        service.second.split.save()
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        assert (await state(speaking))["status"] == "none"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        ({"model": "another"}, 409, "--shadow"),
        ({"model": SAME, "steps": [50, 5]}, 422, "rise"),
        ({"model": SAME, "steps": []}, 422, "rise"),
        ({"model": SAME, "least": 0}, 422, "JSON"),
        ({"model": SAME, "more": 1}, 422, "JSON"),
        ("no object", 422, "JSON"),
    ],
)
async def test_a_start_that_makes_no_sense_is_refused(
    content: Any, status: int, said: str, tmp_path: Path
) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        answer = await speaking.post("/v1/rollout/start", json=content)
        assert answer.status_code == status
        assert said in answer.json()["detail"]
        assert not service.second.split.active


@pytest.mark.parametrize("action", ["pause", "resume", "promote", "abort"])
async def test_without_a_rollout_there_is_nothing_to_do(action: str, tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        answer = await speaking.post(f"/v1/rollout/{action}")
        assert answer.status_code == 409
        assert "No rollout" in answer.json()["detail"]


async def test_a_rollout_ends_the_copies(tmp_path: Path) -> None:
    chosen = settings(tmp_path, SAME) | {"shadow_ratio": 1.0}
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking)
        await edit(speaking)
        assert "rollout" in service.second.copies.ended
        assert service.second.copies.counts["compared"] == 0


@pytest.mark.parametrize("error", [WorkerLost(), ModelError("x"), InternalError()])
async def test_no_error_of_b_counts_for_the_circuit_breaker(
    error: SafelightError, tmp_path: Path
) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        split, slot = service.second.split, service.second.slot

        async def failing(_job: Any) -> Any:
            raise error

        assert slot.engine is not None
        slot.engine = _Engine(slot.engine, failing)  # type: ignore[assignment]
        guarded = breaker(split, failures=2, rest_seconds=60, meter=service.meter)
        for number in range(4):  # too late for A: it is the deadline that ends them
            with pytest.raises(Timeout):
                await guarded(a_job(f"late-{number}", owner=f"caller-{number}", deadline=0.0))
        assert split.rollout is not None
        assert split.rollout.status == "rolled_back"
        split.rollout.status = "running"
        for number in range(4):
            assert (await guarded(a_job(f"in-time-{number}"))).image
        assert "tests_circuit_open 0.0" in (await speaking.get("/metrics")).text


class _Engine:
    """An engine whose jobs end as the test wants."""

    def __init__(self, engine: Any, call: Any) -> None:
        self._engine, self._call = engine, call

    async def __call__(self, job: Any) -> Any:
        return await self._call(job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


async def test_an_equal_model_is_not_rolled_back_under_concurrent_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Rollout.serves  # every request is one of another caller
    monkeypatch.setattr(Rollout, "serves", lambda self, _, request: drawn(self, request, request))
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking, (20,))
        for _ in range(5):  # A has large batches and B small ones
            await asyncio.gather(*(edit(speaking, "slowly", seed=n) for n in range(40)))
        rollout = service.second.split.rollout
        assert rollout is not None
        assert rollout.status == "running"
        assert rollout.b.n > 10
        assert latencies(rollout.a) < rollout.a.n / 4  # most were in batches
        before = latencies(rollout.a) + latencies(rollout.b)
        for seed in range(6):
            await edit(speaking, "slowly", seed=seed)
        assert latencies(rollout.a) + latencies(rollout.b) == before + 6


def latencies(arm: Any) -> int:
    return arm.sums["latency"].n if "latency" in arm.sums else 0


async def test_jobs_that_run_on_b_at_an_abort_end_on_b(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        slot = service.second.slot
        running = asyncio.create_task(edit(speaking, "slowly", steps=50))  # longer than a check
        await eventually(lambda: slot.engine is not None and slot.engine.in_progress > 0)
        await speaking.post("/v1/rollout/abort")
        assert (await running).status_code == 200
        assert slot.ledger.spent["retry"] == 0  # nothing was made twice
        await eventually(lambda: slot.state == "off")


@pytest.mark.parametrize(
    "changed",
    [
        {"n": 5, "mean": 0.0, "squares": -1.0},
        {"n": -5, "mean": 0.0, "squares": 1.0},
        {"n": 5, "mean": 1e999, "squares": 1.0},
    ],
)
async def test_a_state_with_impossible_numbers_starts_nothing(
    changed: dict[str, float], tmp_path: Path
) -> None:
    rollout = msgspec.to_builtins(Rollout(Plan(SAME, ALL_AT_ONCE)))
    rollout["b"] |= {"n": 30, "sums": {"latency": changed}}
    (tmp_path / "rollout-tests.json").write_text(json.dumps(rollout).replace("Infinity", "1e999"))
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        assert (await state(speaking))["status"] == "none"
        assert (await edit(speaking)).status_code == 200


async def test_statistics_that_raise_fail_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking)
        monkeypatch.setattr(Rollout, "decide", lambda *_: 1 / 0)
        assert (await edit(speaking)).status_code == 200
        page = (await speaking.get("/metrics")).text
        assert 'probe_failures_total{probe="rollout"} 1' in page


@pytest.mark.parametrize("percent", [1, 100])
async def test_timeouts_count_for_both_models(percent: int, tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        await begin(service, speaking, (percent,))
        headers = {"x-request-timeout": "0.1"}
        answer = await edit(speaking, "slowly", steps=50, headers=headers)
        assert answer.status_code == 504
        rollout = service.second.split.rollout
        assert rollout is not None
        arm = rollout.b if percent == 100 else rollout.a
        assert (arm.n, arm.failures) == (1, 1)


async def test_a_finished_rollout_is_still_rolled_back(tmp_path: Path) -> None:
    chosen = settings(tmp_path, f"{MODELS}:failing")
    async with engine(**chosen) as service, client(service) as speaking:
        await begin(service, speaking)
        assert (await speaking.post("/v1/rollout/promote")).json()["status"] == "done"
        for seed in range(8):
            assert (await edit(speaking, seed=seed)).status_code == 200
        assert (await state(speaking))["status"] == "rolled_back"


async def test_a_start_before_b_is_loaded_is_refused_and_loads_it(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        slot = service.second.slot
        assert slot.state == "off"  # no copies, no rollout: nobody needs it
        answer = await speaking.post("/v1/rollout/start", json={"model": SAME})
        assert answer.status_code == 409
        assert "rollout status" in answer.json()["detail"]
        assert not service.second.split.active
        await eventually(lambda: slot.ready)
        assert (await state(speaking))["state"] == "ready"
        answer = await speaking.post("/v1/rollout/start", json={"model": SAME})
        assert answer.json()["status"] == "running"


async def test_a_model_that_was_loaded_for_a_rollout_ends_if_none_begins(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        slot, now = service.second.slot, service.second._clock()
        await speaking.post("/v1/rollout/start", json={"model": SAME})
        await eventually(lambda: slot.ready)
        service.second._clock = lambda: now + 700.0
        await eventually(lambda: slot.state == "off")


@pytest.mark.parametrize("name", [f"{SAME}, 2 steps", "B", "B, 2 steps"])
async def test_b_is_started_by_the_name_that_is_shown(name: str, tmp_path: Path) -> None:
    chosen = settings(tmp_path, SAME, shadow_steps=2)
    async with engine(**chosen) as service, client(service) as speaking:
        if name.startswith("B"):
            service.second.slot.name = "B"  # as a folder is shown
        await speaking.post("/v1/rollout/start", json={"model": name})
        await eventually(lambda: service.second.slot.ready, 30)
        answer = await speaking.post("/v1/rollout/start", json={"model": name})
        assert answer.json()["status"] == "running"
        rollout = service.second.split.rollout
        assert rollout is not None
        assert rollout.plan.model == SAME  # a restart finds it


async def test_only_a_rollout_that_goes_on_misses_something(tmp_path: Path) -> None:
    async with engine(**settings(tmp_path, SAME)) as service, client(service) as speaking:
        assert "needs 5 requests" in (await begin(service, speaking))["missing"]
        assert "needs 5 requests" in (await speaking.post("/v1/rollout/pause")).json()["missing"]
        found = (await speaking.post("/v1/rollout/promote")).json()
        assert (found["status"], found["missing"]) == ("done", "")
