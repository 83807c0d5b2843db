"""A second model that cannot be used: a clear message, and a first model that serves on."""

from typing import Any

import pytest

from safelight.errors import BadSetting
from safelight.serving.app import Service
from safelight.serving.engine.launch import Place, _order
from safelight.serving.engine.slot import _overlap, mismatch, second_settings, size_note
from safelight.serving.job import Served
from safelight.settings import load
from tests.serving.running import client, edit, engine, eventually

MODELS = "tests.serving.second_models"
CPU = Place(0, "cpu")
EVERY: dict[str, Any] = {"shadow_ratio": 1.0, "shadow_seconds_per_hour": 3600.0}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "no weights"),
        ("cats", "same family"),
        ("odd_sizes", "multiples of 24"),
        ("nothing_of_this_name", "nothing_of_this_name"),
    ],
)
async def test_a_second_model_that_does_not_fit_is_named_and_the_first_serves(
    name: str, said: str
) -> None:
    async with engine(shadow=f"{MODELS}:{name}", **EVERY) as service, client(service) as speaking:
        await eventually(lambda: service.second.copies.ended != "")
        state = (await speaking.get("/v1/shadow")).json()
        assert said in state["problem"]
        assert state["ended"]
        assert (await edit(speaking)).status_code == 200
        assert (await speaking.get("/readyz")).status_code == 200


@pytest.mark.anyio
async def test_a_second_model_that_dies_is_given_up_and_the_first_serves() -> None:
    settings: dict[str, Any] = {
        "isolation": "process",
        "shadow": f"{MODELS}:dying",
        "shadow_ratio": 1.0,
        "shadow_seconds_per_hour": 3600.0,
    }
    async with engine(**settings) as service, client(service) as speaking:
        slot, copies = service.second.slot, service.second.copies
        for _ in range(3):
            await eventually(lambda: slot.ready and copies._task is None)
            assert (await edit(speaking)).status_code == 200
            await eventually(lambda: copies._task is None)
        await eventually(lambda: slot.state == "failed")
        assert "lost 3 times" in slot.problem
        assert (await edit(speaking)).status_code == 200
        assert service.pool.ready


@pytest.mark.anyio
async def test_a_second_model_that_hangs_is_replaced_and_the_first_serves() -> None:
    settings: dict[str, Any] = {
        "isolation": "process",
        "shadow": f"{MODELS}:hanging",
        "hang_seconds": 1.0,
    }
    async with (
        engine(**settings, **EVERY, gpu_interval_seconds=0.2) as service,
        client(service) as speaking,
    ):
        await eventually(lambda: service.second.slot.ready)
        assert (await edit(speaking)).status_code == 200
        copies = service.second.copies
        await eventually(lambda: copies._running is not None)
        assert (await edit(speaking)).status_code == 200
        await eventually(lambda: copies._task is None)
        assert service.pool.ready
        await eventually(lambda: service.second.slot.ready)  # it is replaced


@pytest.mark.anyio
async def test_another_best_size_is_a_note_and_no_obstacle() -> None:
    models: dict[str, Any] = {"model": f"{MODELS}:smaller", "shadow": f"{MODELS}:larger"}
    async with engine(**models) as service:
        await eventually(lambda: service.second.slot.ready)
        assert "1024 pixels" in service.second.slot.note


def test_the_second_model_has_the_settings_of_the_first_and_its_own() -> None:
    settings = load(devices="cuda:0,cuda:1", shadow="b", shadow_precision="bfloat16")
    second = second_settings(settings)
    assert (second.model, second.devices, second.precision) == ("b", "cuda:0", "bfloat16")
    assert second_settings(load(shadow="b", precision="float16")).precision == "float16"


def test_compilation_is_that_of_the_first_or_of_the_second_alone() -> None:
    alone = load(model="a", shadow="a", shadow_compile=True)
    assert not _order(alone, CPU).model.compile
    assert _order(second_settings(alone), CPU).model.compile
    assert second_settings(load(shadow="b", compile=True)).compile
    assert not second_settings(load(shadow="b")).compile


@pytest.mark.anyio
async def test_the_workers_of_a_compiled_second_model_compile_and_those_of_the_first_do_not() -> (
    None
):
    models: dict[str, Any] = {"model": f"{MODELS}:telling", "shadow": f"{MODELS}:telling"}
    async with (
        engine(shadow_compile=True, **models, **EVERY) as service,
        client(service) as speaking,
    ):
        await eventually(lambda: service.second.slot.ready)
        pool = service.second.slot.pool
        assert pool is not None
        assert [worker.info.pipeline for worker in pool.workers if worker.info] == ["compiled"]
        own = service.pool.workers
        assert [worker.info.pipeline for worker in own if worker.info] == ["plain"]
        state = (await speaking.get("/v1/shadow")).json()
        assert (state["first"], state["second"]) == (
            f"{MODELS}:telling",
            f"{MODELS}:telling, compiled",
        )


def test_a_second_model_cannot_be_compiled_if_there_is_none() -> None:
    with pytest.raises(BadSetting, match=r"SHADOW_COMPILE is set.*--shadow"):
        Service(load(model="demo", shadow_compile=True))


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("cuda:0", "", True),
        ("cuda", "cuda:0", True),
        ("cuda:0", "cuda:1", False),
        ("auto", "cuda:1", True),
        ("cpu", "cpu", True),
    ],
)
def test_devices_that_both_models_use_are_shared(first: str, second: str, shared: bool) -> None:
    assert _overlap(first, second) is shared


def test_models_fit_if_their_tasks_and_sizes_do() -> None:
    assert mismatch(Served("edit", 512, 16), Served("edit", 512, 8)) == ""
    assert "multiples" in mismatch(Served("edit", 512, 8), Served("edit", 512, 16))
    assert "family" in mismatch(Served("edit"), Served("predict"))
    assert size_note(Served("edit", 0), Served("edit", 512)) == ""
