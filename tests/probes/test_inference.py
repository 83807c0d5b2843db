"""Any model call can be measured (W9), sync and async, with the names of the article (R2)."""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
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
from tests.reading import FakeClock, series, text, value

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
    assert len(series(watched, MODEL_LATENCY, "_count")) <= 8


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


# ── Results that are computed while they are read ────────────────────────────────────────────────


CLOCK = FakeClock()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    monkeypatch.setattr("safelight.probes.inference.perf_counter", CLOCK)
    return CLOCK


def compute(fails: bool) -> None:
    CLOCK.now += 1
    if fails:
        raise ValueError("no more")


@measured(NAME)
def parts(count: int, fails: bool = False) -> Iterator[int]:
    """Make parts."""
    for number in range(count):
        compute(fails)
        yield number


@measured(NAME)
async def parts_async(count: int, fails: bool = False) -> AsyncIterator[int]:
    for number in range(count):
        compute(fails)
        yield number


def hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hides that a function is async."""
    return lambda *arguments: function(*arguments)


@measured(NAME)
@hiding
async def hidden(count: int, fails: bool = False) -> list[int]:
    for _ in range(count):
        compute(fails)
    return list(range(count))


def read(results: Any) -> list[int]:
    """Read all parts of any result, and take long for each."""

    async def slowly() -> list[int]:
        if hasattr(results, "__aiter__"):
            return [part async for part in results if use(part)]
        return [part for part in (await results if is_awaitable else results) if use(part)]

    def use(part: int) -> bool:
        CLOCK.now += 100
        return part >= 0

    is_awaitable = hasattr(results, "__await__")
    return asyncio.run(slowly())


@pytest.mark.parametrize("function", [parts, parts_async, hidden])
def test_a_result_is_measured_until_its_last_part_and_without_its_reader(
    function: Any, clock: FakeClock
) -> None:
    with watch(app=FastAPI()) as watched:
        unread = function(1)
        assert series(watched, MODEL_REQUESTS) == []
        assert read(function(3)) == [0, 1, 2]
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, MODEL_LATENCY, "_sum") == pytest.approx(3)
        with pytest.raises(ValueError, match="no more"):
            read(function(1, True))
        assert value(watched, MODEL_REQUESTS, status="failed") == 1
        assert value(watched, IN_FLIGHT) == 0
        read(unread)


def test_a_reader_who_stops_early_is_no_failure() -> None:
    with watch(app=FastAPI()) as watched:
        for _part in parts(3):
            break
        gc.collect()
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert value(watched, MODEL_REQUESTS, status="failed") == 0
        assert value(watched, IN_FLIGHT) == 0


def test_a_measured_generator_is_used_as_without_measuring() -> None:
    def echo() -> Generator[str, str, str]:
        try:
            got = yield "first"
            yield f"got {got}"
        except KeyError:
            yield "caught"
        return "returned"

    for make in (echo, measured(NAME)(echo)):
        with watch(app=FastAPI()):
            one, two = make(), make()
            assert next(one) == "first"
            assert one.send("x") == "got x"
            with pytest.raises(StopIteration, match="returned"):
                next(one)
            next(two)
            assert two.throw(KeyError()) == "caught"


def test_a_measured_async_generator_is_used_as_without_measuring() -> None:
    async def echo() -> AsyncGenerator[str, str]:
        try:
            got = yield "first"
            yield f"got {got}"
        except KeyError:
            yield "caught"

    async def use(make: Any) -> None:
        one, two, three = make(), make(), make()
        assert await anext(one) == "first"
        assert await one.asend("x") == "got x"
        with pytest.raises(StopAsyncIteration):
            await anext(one)
        await anext(two)
        assert await two.athrow(KeyError()) == "caught"
        await anext(three)
        for each in (two, three):
            await each.aclose()

    asyncio.run(use(echo))
    with watch(app=FastAPI()) as watched:
        asyncio.run(use(measured(NAME)(echo)))
        assert value(watched, MODEL_REQUESTS, status="success") == 3
        assert value(watched, IN_FLIGHT) == 0
