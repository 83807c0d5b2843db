"""Any model call can be measured (W9), sync and async, with the names of the article (R2)."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from safelight import inference, measured, watch
from safelight.metrics.catalog import (
    BATCH_SIZE,
    DEVICE_SECONDS,
    IN_FLIGHT,
    MODEL_LATENCY,
    MODEL_REQUESTS,
    REQUESTS,
    STAGE_SECONDS,
)
from tests.probes.cuda import FakeCuda
from tests.probes.web import ask
from tests.reading import series, text, value

NAME = "universal_v3"


@measured(NAME)
def predict(fails: bool = False) -> str:
    """Predict."""
    if fails:
        raise RuntimeError("CUDA error: out of memory")
    return "cat"


@measured(NAME)
async def predict_async(fails: bool = False) -> str:
    await asyncio.sleep(0)
    return predict.__wrapped__(fails)  # type: ignore[attr-defined, no-any-return]


def predict_in_a_block(fails: bool = False) -> str:
    with inference(NAME, batch=1):
        return predict.__wrapped__(fails)  # type: ignore[attr-defined, no-any-return]


async def predict_in_an_async_block(fails: bool = False) -> str:
    async with inference(NAME):
        return predict.__wrapped__(fails)  # type: ignore[attr-defined, no-any-return]


WAYS = [predict, predict_async, predict_in_a_block, predict_in_an_async_block]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_r2_w9_a_call_is_counted_with_its_latency(way: Any) -> None:
    app = FastAPI()
    app.post("/predict")(way)
    with watch(app=app) as watched:
        assert ask(app, "/predict", "POST").json() == "cat"
        assert ask(app, "/predict?fails=1", "POST").status_code == 500
    page = text(watched)
    assert f'model_request_total{{model_name="{NAME}",status="success"}} 1.0' in page
    assert f'model_request_total{{model_name="{NAME}",status="failed"}} 1.0' in page
    assert f'model_latency_seconds_count{{model_name="{NAME}"}} 2.0' in page
    assert value(watched, REQUESTS, endpoint="/predict", error="cuda_oom") == 1
    assert value(watched, REQUESTS, endpoint="/predict", error="none") == 1
    assert value(watched, STAGE_SECONDS, "_count", stage="predict") == 2
    assert value(watched, IN_FLIGHT) == 0


def test_w9_the_batch_size_is_measured() -> None:
    with watch(app=FastAPI()) as watched:
        for batch in (1, 8):
            with inference(NAME, batch=batch):
                pass
    assert value(watched, BATCH_SIZE, "_sum", stop_reason="application") == 9


def test_w9_a_call_can_be_declared_failed() -> None:
    with watch(app=FastAPI()) as watched, inference(NAME) as call:
        call.fail("invalid_output")
    assert value(watched, MODEL_REQUESTS, status="failed") == 1
    assert value(watched, REQUESTS, error="invalid_output") == 1
    with pytest.raises(ValueError, match="model_error"):
        call.fail("nonsense")


def test_both_results_start_at_zero_with_the_first_call() -> None:
    with watch(app=FastAPI()) as watched:
        predict()
    assert value(watched, MODEL_REQUESTS, status="failed") == 0


def test_without_a_watch_a_call_is_not_changed() -> None:
    assert predict() == "cat"
    assert asyncio.run(predict_async()) == "cat"
    assert predict.__doc__ == "Predict."


def test_names_are_bounded() -> None:
    with watch(app=FastAPI()) as watched:
        for number in range(50):
            with inference(f"model-{number}"):
                pass
    assert len(series(watched, MODEL_LATENCY, "_count")) <= 6


def test_on_cuda_the_time_of_the_device_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr("safelight.probes.inference.cuda_in_use", lambda: cuda)
    with watch(app=FastAPI()) as watched:
        with inference(NAME):
            pass
        assert series(watched, DEVICE_SECONDS) == []  # the device is not done yet
        cuda.catch_up()
        assert value(watched, DEVICE_SECONDS, use="useful") == pytest.approx(0.01)


def test_one_object_measures_two_calls_after_each_other() -> None:
    call = inference(NAME)
    with watch(app=FastAPI()) as watched:
        for _ in range(2):
            with call:
                pass
    assert value(watched, MODEL_REQUESTS, status="success") == 2
