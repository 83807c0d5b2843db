"""The canary of one worker, with a real model that is broken while it is loaded."""

import asyncio
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from safelight.guard.golden import ENROL_RUNS
from safelight.guard.turns import Turns
from safelight.guard.verdicts import GOOD_RUNS, State
from safelight.metrics.registry import parse
from safelight.serving.app import Service
from safelight.serving.canary.check import Check
from safelight.serving.canary.inputs import golden_inputs
from safelight.serving.canary.runs import Seen
from safelight.serving.job import Served
from safelight.settings import load
from tests.serving.canary.breaking import (
    KINDS,
    LOADED,
    STEP_SECONDS,
    Break,
    denoiser_zeroed,
    labels_moved,
)
from tests.serving.running import PAINTER, client, edit, engine, eventually

MODEL = "tests.serving.canary.breaking:edit"
SLOWLY = "tests.serving.canary.breaking:slow"
RUNS = 3


def a_check(service: Service, folder: Path, **changes: Any) -> tuple[Check, list[Seen]]:
    """Return a check of the first worker that does what the test says, and what it finds."""
    chosen = {"state_folder": folder, "canary_seconds": 1e-6, "canary_ratio": 1.0, **changes}
    seen: list[Seen] = []
    check = Check(
        service.pool.workers[0],
        service.engine,
        service.pool,
        service.settings.model_copy(update=chosen),
        tell=lambda _check, each: seen.append(each),
    )
    if "canary_ratio" not in changes:
        check._turns = Turns(1e-6, 1.0, _balance=3600.0)  # a busy machine spends more
    return check, seen


async def enrolled(check: Check) -> None:
    """Run the check until the model is enrolled."""
    for _ in range(2 * ENROL_RUNS + 2):
        await check.step()
    assert check.enrolment is not None
    assert not check.health.broken


async def test_every_kind_of_broken_model_is_found_within_three_runs(tmp_path: Path) -> None:
    async with engine(model=MODEL, seconds=300) as service:
        check, _ = a_check(service, tmp_path)
        await enrolled(check)
        (backend,) = LOADED
        missed = []
        for kind in KINDS:
            with kind(backend):
                for _ in range(RUNS):
                    await check.step()
                if check.health.verdict is not State.WRONG:
                    missed.append((kind.__name__, check.last))
            for _ in range(GOOD_RUNS):
                await check.step()
            assert not check.health.broken, kind.__name__
    LOADED.clear()
    assert len(KINDS) >= 12
    assert not missed


@pytest.mark.parametrize(
    ("name", "kind"), [("generate", denoiser_zeroed), ("recognize", labels_moved)]
)
async def test_models_of_other_families_have_golden_outputs_too(
    name: str, kind: Break, tmp_path: Path
) -> None:
    async with engine(model=f"tests.serving.canary.breaking:{name}", seconds=300) as service:
        check, _ = a_check(service, tmp_path)
        await enrolled(check)
        backend = LOADED.pop()
        with kind(backend):
            for _ in range(RUNS):
                await check.step()
            assert check.health.verdict is State.WRONG
        for _ in range(GOOD_RUNS):
            await check.step()
        assert not check.health.broken


async def test_golden_outputs_of_another_device_do_not_count_and_the_log_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with engine() as service:
        there, _ = a_check(service, tmp_path)
        info = service.pool.workers[0].info
        assert info is not None
        service.pool.workers[0].info = replace(info, device_name="NVIDIA H200")
        await enrolled(there)
        service.pool.workers[0].info = info
        here, _ = a_check(service, tmp_path)
        await here.step()
    assert here.enrolled_runs == 1
    assert "device: NVIDIA H200" in capsys.readouterr().out


async def test_a_model_is_enrolled_from_ten_runs_of_each_input(tmp_path: Path) -> None:
    async with engine() as service:
        check, seen = a_check(service, tmp_path)
        await enrolled(check)
    deep = [each for each in seen if each.depth == "deep"]
    assert len(deep) >= 2 * ENROL_RUNS
    assert check.enrolment is not None
    assert set(check.enrolment.goldens) == {"golden-1", "golden-2"}
    assert all(golden.limit <= 0.01 for golden in check.enrolment.goldens.values())


async def test_a_model_that_was_enrolled_earlier_is_compared_at_once(tmp_path: Path) -> None:
    async with engine() as service:
        first, _ = a_check(service, tmp_path)
        await enrolled(first)
        second, seen = a_check(service, tmp_path)
        await second.step()
        await second.step()
    assert second.enrolled_runs is None
    assert [each.drift for each in seen if each.depth == "deep"] == [0.0, 0.0]


async def test_another_model_under_the_same_name_is_wrong_until_an_operator_enrols_it(
    tmp_path: Path,
) -> None:
    async with engine(model=MODEL, seconds=300) as service:
        before, _ = a_check(service, tmp_path)
        await enrolled(before)
        (backend,) = LOADED
        with KINDS[0](backend):  # the file was swapped; then the service started again
            check, _ = a_check(service, tmp_path)
            info = service.pool.workers[0].info
            assert info is not None
            service.pool.workers[0].info = replace(info, fingerprint="another")
            for _ in range(RUNS):
                await check.step()
            assert check.health.verdict is State.WRONG
            assert "not those that were enrolled" in check.health.reason
            check.want(enrolling=True)
            await enrolled(check)
        assert check.enrolment is not None
        assert check.enrolment.fingerprint == "another"
    LOADED.clear()


async def test_a_request_overtakes_a_run_at_its_next_step(tmp_path: Path) -> None:
    async with engine(model=SLOWLY, seconds=60) as service, client(service) as speaking:
        check, seen = a_check(service, tmp_path)
        run = asyncio.create_task(check.step())
        worker = service.pool.workers[0]
        await eventually(lambda: worker.probe is not None and worker.probe.job.progress.step > 0)
        began = time.monotonic()
        answer = await edit(speaking, "quick", steps=1)
        waited = time.monotonic() - began
        await run
    assert answer.status_code == 200
    assert seen[-1].verdict == "overtaken"
    assert waited < 1.5 * STEP_SECONDS, "a run has three steps"


async def test_while_requests_wait_or_run_no_run_begins(tmp_path: Path) -> None:
    async with engine(model=SLOWLY, seconds=60) as service, client(service) as speaking:
        check, seen = a_check(service, tmp_path)
        request = asyncio.create_task(edit(speaking, "make him old", steps=3))
        await eventually(lambda: bool(service.pool.workers[0].outstanding))
        await check.step()
        await request
    assert not seen


async def test_the_time_of_the_canary_is_counted_apart_and_no_request_metric_moves(
    tmp_path: Path,
) -> None:
    async with engine() as service, client(service) as speaking:
        check, _ = a_check(service, tmp_path)
        before = parse((await speaking.get("/metrics")).text)
        await enrolled(check)
        after = parse((await speaking.get("/metrics")).text)
    moved = [key for key, value in after.items() if value != before.get(key)]
    names = {name for name, _ in moved if name.startswith("tests_")}
    assert names == {
        "tests_device_seconds_total",
        "tests_instruction_device_seconds_total",
        "tests_device_held_seconds_total",
    }
    uses = [labels for name, labels in moved if name == "tests_device_seconds_total"]
    assert uses == [frozenset({("use", "canary")})]


async def test_a_model_that_answers_all_inputs_alike_is_judged_by_its_speed_only(
    tmp_path: Path,
) -> None:
    async with engine(model="tests.serving.canary.breaking:constant") as service:
        check, _ = a_check(service, tmp_path)
        await enrolled(check)
    assert check.enrolment is not None
    assert {golden.limit for golden in check.enrolment.goldens.values()} == {inf}


async def test_a_model_that_does_not_run_the_golden_input_is_unknown_and_has_a_pace(
    tmp_path: Path,
) -> None:
    async with engine(model="tests.serving.canary.breaking:failing") as service:
        check, seen = a_check(service, tmp_path, canary_seconds=60.0, canary_ratio=0.01)
        for _ in range(20):
            await check.step()
    assert check.health.verdict is State.UNKNOWN
    assert check.health.reason == "it does not run the golden input: model_error"
    deep = [each.verdict for each in seen if each.depth == "deep"]
    assert len(deep) <= 3
    assert set(deep) == {"refused"}


async def test_a_run_that_was_asked_for_and_is_refused_is_done(tmp_path: Path) -> None:
    async with engine(model="tests.serving.canary.breaking:failing") as service:
        check, _ = a_check(service, tmp_path)
        await check.step()
        check.want()
        for _ in range(RUNS):
            await check.step()
        assert not check.hurries


async def test_a_model_that_fails_after_its_enrolment_is_wrong(tmp_path: Path) -> None:
    async with engine() as service:
        there, _ = a_check(service, tmp_path)
        await enrolled(there)
    async with engine(model="tests.serving.canary.breaking:failing") as service:
        check, _ = a_check(service, tmp_path)
        check._settings = check._settings.model_copy(update={"model": PAINTER})
        for _ in range(RUNS):
            await check.step()
    assert check.health.verdict is State.WRONG
    assert check.health.reason == "it failed: model_error"


async def test_a_compiled_model_gets_a_golden_input_of_its_own_size() -> None:
    served = Served("edit", side=512, multiple=8)
    small, own = (golden_inputs(served, load(compile=compiled)) for compiled in (False, True))
    assert small[0].size == (128, 128)
    assert own[0].size == (512, 512)
