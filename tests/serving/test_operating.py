"""What operators do to a service: pin its level, drain it; and the log line of each action."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from safelight.metrics.catalog import DEGRADATION_LEVEL
from safelight.serving.http.draining import Drain
from safelight.serving.http.keys import hashed
from tests.reading import FakeClock, value
from tests.serving.running import client, edit, engine, eventually

pytestmark = pytest.mark.anyio
PIN, RELEASE, LEVEL = "/v1/degradation/pin", "/v1/degradation/release", "/v1/degradation"
DRAIN, END = "/v1/drain", "/v1/drain/end"
OPS, VIEW = "o" * 40, "v" * 40
KEYS = f"ops:operate+infer={hashed(OPS)},ben:view={hashed(VIEW)}"


def shown(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def acted(lines: list[Any]) -> list[dict[str, Any]]:
    """Return the log lines of operators' actions."""
    return [line for line in lines if line["event"].startswith("operator")]


# ── The degradation level ────────────────────────────────────────────────────────────────────────


async def test_a_pin_changes_the_next_request_and_a_release_gives_its_steps_back() -> None:
    async with engine() as service, client(service) as speaking:
        pinned = await speaking.post(PIN, json={"level": 3})
        assert pinned.status_code == 200
        assert (pinned.json()["level"], pinned.json()["pinned"]) == (3, True)
        assert value(service.meter, DEGRADATION_LEVEL) == 3
        answer = await edit(speaking, steps=10)
        assert answer.headers["x-safelight-degraded"] == "fewer_steps"

        released = (await speaking.post(RELEASE)).json()
        assert (released["level"], released["pinned"], released["by"]) == (0, False, "")
        assert value(service.meter, DEGRADATION_LEVEL) == 0
        assert "x-safelight-degraded" not in (await edit(speaking, steps=10)).headers


async def test_a_release_without_a_pin_changes_nothing() -> None:
    async with engine() as service, client(service) as speaking:
        assert (await speaking.post(RELEASE)).json()["pinned"] is False


async def test_the_level_says_who_pinned_it_and_what_each_level_means() -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        await speaking.post(PIN, json={"level": 1}, headers=shown(OPS))
        state = (await speaking.get(LEVEL, headers=shown(VIEW))).json()
        assert (state["level"], state["by"], state["highest"]) == (1, "ops", 5)
        assert [each["level"] for each in state["levels"]] == list(range(6))
        assert state["levels"][3] == {
            "level": 3,
            "name": "fewer_steps",
            "meaning": "60 % of the steps",
        }


async def test_a_level_of_the_settings_is_pinned_by_them_and_can_be_released() -> None:
    async with engine(degradation_level=2) as service, client(service) as speaking:
        state = (await speaking.get(LEVEL)).json()
        assert state["pinned"]
        assert "SAFELIGHT_DEGRADATION_LEVEL" in state["by"]
        assert (await speaking.post(RELEASE)).json()["level"] == 0


@pytest.mark.parametrize(
    "body",
    ["", "x", "{}", '{"level": -1}', '{"level": 3}', '{"level": "1"}', '{"level": true}', "1"],
)
async def test_a_level_out_of_bounds_is_refused_and_nothing_is_pinned(body: str) -> None:
    async with engine(degradation_limit=2) as service, client(service) as speaking:
        refused = await speaking.post(PIN, content=body)
        assert (refused.status_code, refused.json()["reason"]) == (422, "invalid_parameter")
        assert "the highest is 2" in refused.json()["detail"]
        assert service.governor.pinned is None


async def test_at_a_pinned_full_quality_the_breaker_still_opens() -> None:
    async with engine(breaker_failures=2) as service, client(service) as speaking:
        await speaking.post(PIN, json={"level": 0})
        reasons = [(await edit(speaking, f"raise {n}")).json()["reason"] for n in range(8)]
        assert reasons[-1] == "circuit_open"
        assert service.governor.level == 0


async def test_at_a_pinned_full_quality_admission_still_refuses() -> None:
    async with engine(max_concurrent_requests=1) as service, client(service) as speaking:
        await speaking.post(PIN, json={"level": 0})
        asked = (edit(speaking, "slowly", seed=seed) for seed in range(4))
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200, 503, 503, 503]


async def test_at_a_pinned_full_quality_a_batch_that_does_not_fit_is_still_split() -> None:
    async with engine(isolation="process") as service, client(service) as speaking:
        await speaking.post(PIN, json={"level": 0})
        asked = (edit(speaking, "fits 1", seed=seed) for seed in range(6))
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}


# ── Drain ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_drained_instance_is_not_ready_and_still_answers_until_the_drain_ends() -> None:
    async with engine() as service, client(service) as speaking:
        assert (await speaking.post(DRAIN)).json()["draining"] is True
        refused = await speaking.get("/readyz")
        assert (refused.status_code, refused.json()["reason"]) == (503, "not_ready")
        assert "drains this instance" in refused.json()["detail"]
        assert (await speaking.get("/healthz")).status_code == 200
        assert (await edit(speaking)).status_code == 200

        assert (await speaking.post(END)).json()["draining"] is False
        assert (await speaking.get("/readyz")).status_code == 200


async def test_a_drain_says_how_many_requests_are_left_and_lets_them_finish() -> None:
    async with engine() as service, client(service) as speaking:
        running = asyncio.create_task(edit(speaking, "slowly", steps=20))
        await eventually(lambda: service.engine.in_progress == 1)
        assert (await speaking.post(DRAIN)).json()["requests"] == 1
        assert (await running).status_code == 200
        assert (await speaking.get(DRAIN)).json()["requests"] == 0


async def test_the_first_of_two_operators_who_drain_is_the_one_who_did_it() -> None:
    clock = FakeClock()
    drain = Drain(clock)
    drain.begin("anna")
    clock.now += 60
    drain.begin("ben")
    assert (drain.by, drain.since) == ("anna", clock.now - 60)


# ── Who may, and what the log says ───────────────────────────────────────────────────────────────


async def test_a_viewer_sees_and_does_not_act() -> None:
    async with engine(api_keys=KEYS) as service, client(service) as speaking:
        for path in (PIN, RELEASE, DRAIN, END):
            assert (await speaking.post(path)).status_code == 401
            assert (await speaking.post(path, headers=shown(VIEW))).status_code == 403
        for path in (LEVEL, DRAIN):
            assert (await speaking.get(path)).status_code == 401
            assert (await speaking.get(path, headers=shown(VIEW))).status_code == 200


async def test_a_service_that_stops_is_neither_pinned_nor_drained() -> None:
    async with engine() as service, client(service) as speaking:
        service.front.requests.drain()
        for path in (PIN, RELEASE, DRAIN, END):
            assert (await speaking.post(path)).json()["reason"] == "stopping"


async def test_each_action_is_one_log_line_with_the_name_of_the_key() -> None:
    settings: dict[str, Any] = {
        "api_keys": KEYS,
        "canary_seconds": 60.0,
        "shadow": "tests.serving.models:painter",
    }
    async with engine(**settings) as service, client(service) as speaking:
        speaking.headers.update(shown(OPS))
        with capture_logs() as lines:
            await speaking.post(PIN, json={"level": 1})
            await speaking.post(RELEASE)
            await speaking.post(DRAIN)
            await speaking.post(END)
            await speaking.post("/v1/model/canary")
            await speaking.post("/v1/rollout/pause")
            await speaking.post("/v1/model/sleep")
            await speaking.post("/v1/model/wake")
        said = [(line["safelight.action"], line["event"]) for line in acted(lines)]
        assert said[:5] == [
            (name, "operator acted")
            for name in ("pin", "release", "drain", "end drain", "run the canary")
        ]
        assert said[5] == ("rollout pause", "operator's action failed")
        assert [name for name, _ in said[6:]] == ["sleep", "wake"]
        assert {line["user.name"] for line in acted(lines)} == {"ops"}
        assert acted(lines)[0]["safelight.degradation_level"] == 1
        assert acted(lines)[5]["error.type"] == "rollout_conflict"


async def test_without_keys_a_line_names_nobody() -> None:
    async with engine() as service, client(service) as speaking:
        with capture_logs() as lines:
            await speaking.post(DRAIN)
        [line] = acted(lines)
        assert "user.name" not in line
