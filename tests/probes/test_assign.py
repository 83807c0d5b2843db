"""Calls belong to the request that made them, or become one of their own (W3, W4)."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException

from safelight import Record, Watch, handle, inference, watch
from safelight.metrics.catalog import (
    HTTP_REQUESTS,
    IN_FLIGHT,
    MODEL_LATENCY,
    MODEL_REQUESTS,
    REQUESTS,
    STEPS,
)
from safelight.probes.carry import Handle
from tests.pipelines import STEPS as MADE
from tests.pipelines import draw, edit, text_pipeline
from tests.probes.web import ask, client
from tests.reading import series, value

POOL = ThreadPoolExecutor(2)


class Gate:
    """Lets a model's call end only when the test says so."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.ended = (threading.Event() for _ in range(3))

    def call(self) -> None:
        with inference("m"):
            self.begun.set()
            assert self.may_end.wait(10)
        self.ended.set()


@pytest.fixture
def records() -> list[Record]:
    return []


def served(routes: dict[str, Callable[..., Any]], records: list[Record]) -> tuple[FastAPI, Watch]:
    app = FastAPI()
    for path, route in routes.items():
        app.post(path)(route)
    return app, watch(app=app, on_record=records.append)


def quick() -> str:
    with inference("m"):
        return "made"


# ── While the request is open ────────────────────────────────────────────────────────────────────


def in_a_thread() -> None:
    thread = threading.Thread(target=quick)
    thread.start()
    thread.join()


def in_an_own_class() -> None:
    class Own(threading.Thread):
        def run(self) -> None:
            quick()

    thread = Own()
    thread.start()
    thread.join()


def in_an_executor() -> None:
    POOL.submit(quick).result()


def in_a_map() -> None:
    list(POOL.map(lambda _: quick(), range(1)))


async def in_the_default_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, quick)


async def in_an_own_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(POOL, quick)


async def in_a_task() -> None:
    await asyncio.create_task(asyncio.to_thread(quick))


async def in_the_loop() -> None:
    async with inference("m"):
        await asyncio.sleep(0)


def through_a_queue() -> None:
    done = threading.Event()
    JOBS.put((handle(), done))
    assert done.wait(10)


JOBS: queue.Queue[tuple[Handle, threading.Event]] = queue.Queue()


def consume() -> None:
    """Run the model for all requests in one thread, as many services do."""
    while True:
        ticket, done = JOBS.get()
        with ticket:
            quick()
        done.set()


threading.Thread(target=consume, daemon=True).start()


ROUTES: tuple[Callable[[], Any], ...] = (
    in_a_thread,
    in_an_own_class,
    in_an_executor,
    in_a_map,
    in_the_default_executor,
    in_an_own_executor,
    in_a_task,
    in_the_loop,
    through_a_queue,
)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
def test_w3_a_call_belongs_to_its_open_request(
    route: Callable[[], Any], records: list[Record]
) -> None:
    app, watched = served({"/draw": route}, records)
    with watched:
        for _ in range(3):
            assert ask(app, "/draw", "POST").status_code == 200
    assert [(record.endpoint, len(record.calls)) for record in records] == [("/draw", 1)] * 3
    assert value(watched, MODEL_LATENCY, "_count", model_name="m") == 3
    assert value(watched, REQUESTS) == 3
    assert value(watched, IN_FLIGHT) == 0


# ── When the request is over ─────────────────────────────────────────────────────────────────────


def accepted(gate: Gate) -> Callable[..., Any]:
    async def accept() -> None:
        app_tasks.append(asyncio.create_task(asyncio.to_thread(gate.call)))

    return accept


app_tasks: list[Any] = []


def in_background(gate: Gate) -> Callable[..., Any]:
    def accept(tasks: BackgroundTasks) -> None:
        gate.may_end.set()
        tasks.add_task(gate.call)

    return accept


def in_a_forgotten_thread(gate: Gate) -> Callable[..., Any]:
    def accept() -> None:
        threading.Thread(target=gate.call).start()

    return accept


@pytest.mark.parametrize("make", [accepted, in_background, in_a_forgotten_thread])
def test_w3_a_call_that_outlives_its_request_is_a_request_of_its_own(
    make: Callable[[Gate], Callable[..., Any]], records: list[Record]
) -> None:
    gate = Gate()
    app, watched = served({"/jobs": make(gate)}, records)

    async def once() -> None:
        async with client(app) as web:
            assert (await web.post("/jobs")).status_code == 200
            gate.may_end.set()
            assert await asyncio.to_thread(gate.ended.wait, 10)

    with watched:
        asyncio.run(once())
    assert [(each.endpoint, each.status_code, len(each.calls)) for each in records] == [
        ("none", 200, 1)
    ]
    assert value(watched, REQUESTS) == 1
    assert value(watched, HTTP_REQUESTS, handler="/jobs", status="200") == 1
    assert value(watched, IN_FLIGHT) == 0


def test_w3_a_request_that_times_out_during_its_call_has_failed(records: list[Record]) -> None:
    gate = Gate()

    async def timed() -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(gate.call), 0.05)
        except TimeoutError:
            raise HTTPException(504, "too slow") from None

    app, watched = served({"/timed": timed}, records)

    async def once() -> None:
        async with client(app) as web:
            assert (await web.post("/timed")).status_code == 504
            gate.may_end.set()
            assert await asyncio.to_thread(gate.ended.wait, 10)

    with watched:
        asyncio.run(once())
    assert [(each.endpoint, each.error, len(each.calls)) for each in records] == [
        ("/timed", "timeout", 0),
        ("none", "none", 1),
    ]
    assert value(watched, MODEL_REQUESTS, model_name="m", status="success") == 1


def test_a_pools_thread_does_not_keep_the_request_that_started_it(records: list[Record]) -> None:
    pool = ThreadPoolExecutor(1)
    inside, outside = threading.Event(), threading.Event()

    def route() -> None:
        pool.submit(quick).result()
        inside.set()
        assert outside.wait(10)

    app, watched = served({"/draw": route}, records)
    with watched:
        request = threading.Thread(target=ask, args=(app, "/draw", "POST"))
        request.start()
        assert inside.wait(10)
        pool.submit(quick).result()  # outside any request, while the first is open
        outside.set()
        request.join()
    assert [(record.endpoint, len(record.calls)) for record in records] == [
        ("none", 1),
        ("/draw", 1),
    ]


def test_without_a_watch_threads_and_executors_are_pythons_own() -> None:
    before = threading.Thread.start, ThreadPoolExecutor.submit
    with watch(app=FastAPI()), watch(app=FastAPI()):
        assert (threading.Thread.start, ThreadPoolExecutor.submit) != before
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before


def test_a_handle_outside_a_request_does_nothing() -> None:
    with handle():
        assert quick() == "made"


# ── Several pipelines, applications and watches (W4) ─────────────────────────────────────────────


def test_w4_two_named_pipelines_of_one_application(edit_pipe: Any, records: list[Record]) -> None:
    base, app = text_pipeline(edit_pipe), FastAPI()

    @app.post("/draw")
    def both() -> None:
        edit(edit_pipe, image=draw(base).images[0])

    models = {"base": base, "editor": edit_pipe}
    with watch(app=app, pipelines=models, on_record=records.append) as watched:
        assert ask(app, "/draw", "POST").status_code == 200
    assert [call.model for call in records[0].calls] == ["base", "editor"]
    for name in models:
        assert value(watched, MODEL_REQUESTS, model_name=name, status="success") == 1
    assert value(watched, STEPS, "_sum") == 2 * MADE
    assert records[0].stages["denoise"] == pytest.approx(
        sum(call.phases["denoise"] for call in records[0].calls), rel=0.2
    )


def test_w4_a_second_watch_of_the_application_adds_a_pipeline(edit_pipe: Any) -> None:
    base, app = text_pipeline(edit_pipe), FastAPI()

    @app.post("/draw")
    def both() -> None:
        edit(edit_pipe, image=draw(base).images[0])

    with watch(app=app, pipeline=base) as first, watch(app=app, pipeline=edit_pipe) as second:
        ask(app, "/draw", "POST")
        assert second.meter is first.meter
        assert value(first, STEPS, "_sum") == 2 * MADE
        assert value(first, REQUESTS) == 1
    draw(base)
    assert value(first, STEPS, "_sum") == 2 * MADE


def test_w4_each_call_reaches_the_metrics_of_its_own_watch(
    edit_pipe: Any, records: list[Record]
) -> None:
    base, app = text_pipeline(edit_pipe), FastAPI()

    @app.post("/draw")
    def both() -> None:
        edit(edit_pipe, image=draw(base).images[0])

    with (
        watch(app=app, pipeline=base, namespace="base", on_record=records.append) as first,
        watch(pipeline=edit_pipe, namespace="editor") as second,
    ):
        ask(app, "/draw", "POST")
        assert (value(first, STEPS, "_sum"), value(second, STEPS, "_sum")) == (MADE, MADE)
        assert (value(first, STEPS, "_count"), value(second, STEPS, "_count")) == (1, 1)
    assert len(records[0].calls) == 2  # the request shows the stages of both


def test_w4_a_second_namespace_is_on_the_applications_page(edit_pipe: Any) -> None:
    base, app = text_pipeline(edit_pipe), FastAPI()
    with (
        watch(app=app, pipeline=base, namespace="base"),
        watch(app=app, pipeline=edit_pipe, namespace="editor"),
    ):
        draw(base)
        edit(edit_pipe)
        page = ask(app, "/metrics").text
    assert f"base_steps_sum {MADE}.0" in page
    assert f"editor_steps_sum {MADE}.0" in page
    assert page.count("# TYPE process_open_fds gauge") == 1


def test_w4_one_pipeline_in_two_applications(edit_pipe: Any) -> None:
    apps = FastAPI(), FastAPI()
    for app in apps:
        app.post("/edit")(lambda: list(edit(edit_pipe).images[0].size))
    with (
        watch(app=apps[0], pipeline=edit_pipe, namespace="one") as first,
        watch(app=apps[1], pipeline=edit_pipe, namespace="two") as second,
    ):
        ask(apps[0], "/edit", "POST")
        ask(apps[1], "/edit", "POST")
        ask(apps[1], "/edit", "POST")
        assert (value(first, STEPS, "_count"), value(second, STEPS, "_count")) == (1, 2)
        assert (value(first, REQUESTS), value(second, REQUESTS)) == (1, 2)


def test_w4_a_watched_application_inside_another(records: list[Record]) -> None:
    inner, outer = FastAPI(), FastAPI()
    inner.post("/draw")(quick)
    outer.mount("/inner", inner)
    with watch(app=outer, namespace="outer") as out, watch(app=inner, namespace="inner") as within:
        assert ask(outer, "/inner/draw", "POST").status_code == 200
        assert ask(outer, "/inner/metrics").status_code == 200
    assert {"handler": "/inner/draw", "method": "POST", "status": "200"} in series(
        out, HTTP_REQUESTS
    )
    assert series(within, HTTP_REQUESTS) == [
        {"handler": "/draw", "method": "POST", "status": "200"}
    ]
    assert value(within, MODEL_LATENCY, "_count") == 1
    assert (value(out, REQUESTS), value(within, REQUESTS)) == (1, 1)
