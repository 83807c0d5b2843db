"""The canary of a whole service: its loop, its metrics, its routes, with real processes."""

import os
import signal
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from safelight.metrics.catalog import CANARY_RUNS, CANARY_WORKERS
from tests.reading import value
from tests.serving.conftest import serving, until
from tests.serving.running import client, engine, eventually


async def test_a_service_enrols_its_model_at_its_start_and_says_what_it_knows(
    tmp_path: Path,
) -> None:
    async with (
        engine(canary_seconds=60.0, state_folder=tmp_path) as service,
        client(service) as speaking,
    ):
        await eventually(lambda: value(service.meter, CANARY_WORKERS, state="good") == 1)
        report = (await speaking.get("/v1/model/canary")).json()
        assert value(service.meter, CANARY_RUNS, depth="deep", verdict="good") >= 20
    (worker,) = report["workers"]
    assert (worker["verdict"], worker["enrolling"], worker["why"]) == ("good", None, "")
    assert set(worker["goldens"]) == {"golden-1", "golden-2"}
    assert len(list((tmp_path / "canary").iterdir())) == 1


async def test_an_operator_runs_and_enrols_by_hand(tmp_path: Path) -> None:
    async with (
        engine(canary_seconds=60.0, state_folder=tmp_path) as service,
        client(service) as speaking,
    ):
        await eventually(lambda: value(service.meter, CANARY_WORKERS, state="good") == 1)
        runs = value(service.meter, CANARY_RUNS, depth="deep", verdict="good")
        ran = (await speaking.post("/v1/model/canary")).json()
        assert ran["workers"][0]["drift_ratio"] == 0
        assert value(service.meter, CANARY_RUNS, depth="deep", verdict="good") == runs + 2
        enrolled = (await speaking.post("/v1/model/canary/enrol")).json()
        assert enrolled["workers"][0]["verdict"] == "good"
        assert value(service.meter, CANARY_RUNS, depth="deep", verdict="good") >= runs + 22


@pytest.mark.parametrize("path", ["/v1/model/canary", "/v1/model/canary/enrol"])
async def test_a_service_without_a_canary_says_how_to_get_one(path: str) -> None:
    async with engine() as service, client(service) as speaking:
        refusal = await speaking.post(path)
        assert refusal.status_code == 422
        assert "SAFELIGHT_CANARY_SECONDS" in refusal.json()["detail"]
        assert (await speaking.get("/v1/model/canary")).json()["on"] is False


async def test_with_a_budget_of_zero_nothing_is_known_and_no_time_is_spent(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"state_folder": tmp_path, "canary_seconds": 60.0}
    async with engine(**chosen, canary_ratio=0.0) as service, client(service) as speaking:
        await eventually(lambda: value(service.meter, CANARY_RUNS, depth="shallow") >= 1)
        (worker,) = (await speaking.get("/v1/model/canary")).json()["workers"]
        assert worker["verdict"] == "unknown"
        assert value(service.meter, CANARY_RUNS, depth="deep") == 0
        refusal = await speaking.post("/v1/model/canary")
        assert refusal.status_code == 422
        assert "SAFELIGHT_CANARY_RATIO" in refusal.json()["detail"]


async def test_readiness_answers_within_ten_milliseconds_while_a_run_is_in_progress(
    tmp_path: Path,
) -> None:
    slow = "tests.serving.canary.breaking:slow"
    chosen: dict[str, Any] = {"canary_seconds": 60.0, "state_folder": tmp_path}
    async with engine(model=slow, **chosen) as service, client(service) as speaking:
        await eventually(lambda: service.pool.workers[0].probe is not None)
        seconds = []
        for _ in range(20):
            began = perf_counter()
            assert (await speaking.get("/readyz")).status_code == 200
            seconds.append(perf_counter() - began)
    assert sorted(seconds)[len(seconds) // 2] < 0.010


def test_a_worker_that_stops_answering_is_hung_or_dead_and_the_service_recovers(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, canary_seconds="1", calm=False, hang_seconds="30") as service:
        wanted = "instructpix2pix_canary_workers"
        assert until(lambda: service.value(wanted, state="good") == 1, 120)
        worker = _worker_of(service.pid)
        os.kill(worker, signal.SIGSTOP)
        broken = ("hung", "dead")
        assert until(lambda: any(service.value(wanted, state=s) for s in broken), 90)
        report = service.client.get("/v1/model/canary").json()
        assert report["readiness_forced"] or report["workers"][0]["verdict"] in broken
        os.kill(worker, signal.SIGCONT)
        assert until(lambda: service.value(wanted, state="good") == 1, 120)


def test_a_swapped_model_file_is_found_when_the_service_starts_again(tmp_path: Path) -> None:
    import torch
    from diffusers import DiffusionPipeline

    from tests.untrained import build_edit

    folder = tmp_path / "model"
    build_edit().save_pretrained(folder)
    state: dict[str, Any] = {"canary_seconds": "60", "black_level": "0", "flat_deviation": "0"}
    wanted = "instructpix2pix_canary_workers"
    with serving(tmp_path, str(folder), noise_correlation="0", **state) as service:
        assert until(lambda: service.value(wanted, state="good") == 1, 90)
    pipeline = DiffusionPipeline.from_pretrained(folder, safety_checker=None)
    with torch.no_grad():
        for weight in pipeline.unet.parameters():
            weight.mul_(0.9)
    pipeline.save_pretrained(folder)
    with serving(tmp_path, str(folder), noise_correlation="0", **state) as service:
        assert until(lambda: service.value(wanted, state="wrong") == 1, 60)
        (worker,) = service.client.get("/v1/model/canary").json()["workers"]
        assert "not those that were enrolled" in worker["why"]
        runs = service.value("instructpix2pix_canary_runs_total", depth="deep", verdict="wrong")
        assert runs <= 3
        service.client.post("/v1/model/canary/enrol")
        assert until(lambda: service.value(wanted, state="good") == 1, 120)


def _worker_of(pid: int) -> int:
    """Return the process id of the worker of a service."""
    import psutil

    children = psutil.Process(pid).children()
    (worker,) = [child for child in children if "safelight.serving.worker.child" in child.cmdline()]
    return worker.pid
