"""Situations that public reports describe: what the watcher measures, and that it hurts nothing.

Each group names a report of another project in which a service or its watcher went wrong.
"""

import asyncio
import gc
import io
import re
import socket
import threading
import warnings
import wsgiref.util
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from wsgiref.handlers import SimpleHandler

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from flask import Flask
from flask import Response as FlaskResponse
from starlette.testclient import TestClient

from safelight import Record, handle, inference, watch
from safelight.metrics.catalog import (
    HTTP_IN_PROGRESS,
    HTTP_REQUESTS,
    IN_FLIGHT,
    MODEL_REQUESTS,
    REQUESTS,
)
from safelight.probes.asgi_request import AsgiRequest
from safelight.telemetry.record import MAX_CALLS
from tests.probes.web import EMPTY_BODY, ask, client, drive, scope_of
from tests.reading import series, value


@pytest.fixture
def records() -> list[Record]:
    return []


def quick() -> None:
    with inference("m"):
        pass


def summary(records: list[Record]) -> list[tuple[str, int, str, int]]:
    return [(each.endpoint, each.status_code, each.error, len(each.calls)) for each in records]


# ── python/cpython#140947, Kludex/uvicorn#2167, Kludex/starlette#2335: after a large upload, the
#    next request of the connection starts in the context of the one before


@contextmanager
def uvicorn_with(app: Any, **options: Any) -> Iterator[httpx.Client]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, log_level="critical", **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_the_uploads_of_a_connection_do_not_keep_each_other_in_memory(
    http: str, records: list[Record]
) -> None:
    app = FastAPI()

    @app.post("/edit")
    async def edit(request: Request) -> int:
        quick()
        return len(await request.body())

    with watch(app=app, on_record=records.append) as watched:
        with uvicorn_with(app, loop="asyncio", http=http) as web, web:
            for _ in range(5):
                assert web.post("/edit", content=b"x" * 300_000).json() == 300_000
            gc.collect()
            held = [each for each in gc.get_objects() if type(each) is AsgiRequest]
            assert all(each.outer is None for each in held)
        assert summary(records) == [("/edit", 200, "none", 1)] * 5
        assert value(watched, HTTP_REQUESTS, status="200") == 5


# ── apitally/apitally-py#63, fastapi/fastapi#3589, Kludex/starlette#3458: background tasks that
#    fail, also inside a BaseHTTPMiddleware, which starts them before the last byte


def fails() -> None:
    raise RuntimeError("the mail server is down")


def plain_app() -> FastAPI:
    return FastAPI()


def app_with_middleware() -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def passes(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    return app


@pytest.mark.parametrize("make", [plain_app, app_with_middleware])
def test_a_background_task_that_fails_does_not_fail_the_answered_request(
    make: Callable[[], FastAPI], records: list[Record]
) -> None:
    app = make()

    @app.post("/draw")
    def draw(tasks: BackgroundTasks) -> None:
        quick()
        tasks.add_task(fails)

    with watch(app=app, on_record=records.append) as watched:
        assert ask(app, "/draw", "POST").status_code == 200
        assert value(watched, REQUESTS, status_code="200", error="none") == 1
        assert value(watched, HTTP_IN_PROGRESS) == 0
    assert summary(records) == [("/draw", 200, "none", 1)]


# ── Kludex/starlette#87, rootlyhq/rootly-mcp-server#132: messages after the end of a response


@pytest.mark.parametrize(
    "late",
    [
        {"type": "http.response.body", "body": b"again"},
        {"type": "http.response.trailers", "headers": []},
    ],
    ids=lambda message: str(message["type"]),
)
def test_a_message_after_the_end_of_a_response_does_not_change_the_gauge(
    late: dict[str, Any],
) -> None:
    class Twice:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"once"})
            await send(late)

    app = Twice()
    with watch(app=app) as watched:
        sent = asyncio.run(drive(app, scope_of("/"), EMPTY_BODY))
        assert len(sent) == 3
        assert value(watched, HTTP_IN_PROGRESS) == 0
        assert value(watched, HTTP_REQUESTS, status="200") == 1


# ── trallnag/prometheus-fastapi-instrumentator#387 and #389: root_path and mounted applications


def prefixed() -> FastAPI:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of FastAPI advise against it
        app = FastAPI(root_path="/api")
    inner = FastAPI()
    inner.get("/draw/{n}")(lambda n: n)
    app.get("/draw/{n}")(lambda n: n)
    app.mount("/inner", inner)
    return app


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/draw/1", "/draw/{n}"),
        ("/api/draw/1", "/draw/{n}"),
        ("/api/inner/draw/1", "/inner/draw/{n}"),
        ("/api/unknown", "none"),
    ],
)
def test_an_application_with_a_root_path_of_its_own_has_its_templates(
    path: str, handler: str
) -> None:
    app = prefixed()
    before = ask(app, path).status_code
    with watch(app=app) as watched:
        assert ask(app, path).status_code == before
        assert value(watched, HTTP_REQUESTS, handler=handler, status=str(before)) == 1


@pytest.mark.parametrize("path", ["/metrics", "/api/metrics"])
def test_an_application_with_a_root_path_of_its_own_has_its_metrics(path: str) -> None:
    app = prefixed()
    with watch(app=app):
        assert "safelight_service_info" in ask(app, path).text


# ── jeremyjordan/ml-monitoring#9: under load, the scrape waits for the model


def test_a_scrape_does_not_wait_for_the_threads_that_run_the_model() -> None:
    app, may_end = FastAPI(), threading.Event()

    @app.post("/draw")
    async def draw() -> None:
        assert await asyncio.to_thread(may_end.wait, 10)

    async def scrape_while_drawing() -> str:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with client(app) as web:
            drawing = [asyncio.create_task(web.post("/draw")) for _ in range(2)]
            await asyncio.sleep(0.01)
            page = await asyncio.wait_for(web.get("/metrics"), 5)
            may_end.set()
            await asyncio.gather(*drawing)
        return page.text

    with watch(app=app):
        page = asyncio.run(scrape_while_drawing())
    assert "http_requests_inprogress 2.0" in page
    assert not [each for each in threading.enumerate() if "safelight-metrics" in each.name]


# ── open-telemetry/opentelemetry-python#2606 and -contrib#3937, jaseci-labs/jac#6604: a stream
#    leaves a block in another context than it entered it


def test_a_handle_may_be_left_in_another_context(records: list[Record]) -> None:
    app = FastAPI()

    @app.get("/stream")
    def stream() -> StreamingResponse:
        ticket = handle()

        def parts() -> Iterator[bytes]:
            with ticket:
                for _ in range(3):
                    quick()
                    yield b"part"

        return StreamingResponse(parts())

    with watch(app=app, on_record=records.append) as watched:
        assert ask(app, "/stream").content == b"part" * 3
        assert value(watched, MODEL_REQUESTS, status="success") == 3
        quick()
    assert summary(records) == [("/stream", 200, "none", 3), ("none", 200, "none", 1)]


def test_a_handle_of_two_threads_leaves_no_request_behind(records: list[Record]) -> None:
    app, pool = FastAPI(), ThreadPoolExecutor(2)
    inside, may_leave = threading.Barrier(3), threading.Event()

    @app.post("/draw")
    def draw() -> None:
        ticket = handle()

        def work() -> None:
            with ticket:
                quick()
                inside.wait(10)
                assert may_leave.wait(10)

        running = [pool.submit(work) for _ in range(2)]
        inside.wait(10)
        may_leave.set()
        for each in running:
            each.result()

    with watch(app=app, on_record=records.append):
        assert ask(app, "/draw", "POST").status_code == 200
        for each in [pool.submit(quick) for _ in range(2)]:
            each.result()
    pool.shutdown()
    assert sorted(summary(records)) == [
        ("/draw", 200, "none", 2),
        ("none", 200, "none", 1),
        ("none", 200, "none", 1),
    ]


# ── getsentry/sentry-python#4610 and #4770: others wrap Thread.start and submit as well


@pytest.fixture(params=["before", "after"])
def wrapped_by_others(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Wrap as Sentry does, before or after `watch`."""
    wrapped: list[str] = []

    def wrap(moment: str) -> None:
        if wrapped or moment != request.param:
            return
        wrapped.append(moment)
        start, submit = threading.Thread.start, ThreadPoolExecutor.submit

        def their_start(self: threading.Thread) -> None:
            run = self.run
            self.run = lambda: run()  # type: ignore[method-assign]
            start(self)

        def their_submit(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
            return submit(self, lambda: fn(*args, **kwargs))

        monkeypatch.setattr(threading.Thread, "start", their_start)
        monkeypatch.setattr(ThreadPoolExecutor, "submit", their_submit)

    return wrap


def test_calls_are_carried_through_the_wrappers_of_others(
    wrapped_by_others: Callable[[str], None], records: list[Record]
) -> None:
    app = FastAPI()

    @app.post("/draw")
    def draw() -> None:
        thread = threading.Thread(target=quick)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(quick).result()

    wrapped_by_others("before")
    for _ in range(2):  # the second watch finds whatever the first has left
        with watch(app=app, on_record=records.append):
            wrapped_by_others("after")
            assert ask(app, "/draw", "POST").status_code == 200
    assert summary(records) == [("/draw", 200, "none", 2)] * 2


def test_a_thread_that_could_not_start_can_be_started_again(
    monkeypatch: pytest.MonkeyPatch, records: list[Record]
) -> None:
    app = FastAPI()

    def refuse(*arguments: object, **options: object) -> None:
        raise RuntimeError("can't start new thread")

    @app.post("/draw")
    async def draw() -> None:
        thread = threading.Thread(target=quick)
        with monkeypatch.context() as patch:
            for name in ("_start_new_thread", "_start_joinable_thread"):
                patch.setattr(threading, name, refuse, raising=False)
            with pytest.raises(RuntimeError, match="can't start"):
                thread.start()
        thread.start()
        thread.join()

    with watch(app=app, on_record=records.append):
        assert ask(app, "/draw", "POST").status_code == 200
    assert summary(records) == [("/draw", 200, "none", 1)]


# ── miguelgrinberg/flask-video-streaming#16, osnava/learnJetson#9: a camera's stream that calls a
#    detector for each picture, for days


def flask_stream(calls: int) -> Any:
    app = Flask("camera")
    app.get("/video")(lambda: FlaskResponse(pictures(calls), mimetype="multipart/x-mixed-replace"))
    return app


def fastapi_stream(calls: int) -> Any:
    app = FastAPI()
    app.get("/video")(lambda: StreamingResponse(pictures(calls)))
    return app


def pictures(calls: int) -> Iterator[bytes]:
    for _ in range(calls):
        quick()
        yield b"picture"


@pytest.mark.parametrize("make", [flask_stream, fastapi_stream])
def test_an_endless_stream_counts_its_calls_while_it_runs(
    make: Callable[[int], Any], records: list[Record]
) -> None:
    calls = MAX_CALLS + 50
    app = make(calls)
    with watch(app=app, on_record=records.append) as watched:
        if isinstance(app, Flask):
            answer = app.test_client().get("/video")
            assert len(answer.data) == calls * len(b"picture")
            answer.close()
        else:
            assert len(ask(app, "/video").content) == calls * len(b"picture")
        assert value(watched, MODEL_REQUESTS, status="success") == calls
        assert value(watched, IN_FLIGHT) == 0
    assert [record.endpoint for record in records] == ["none"] * 50 + ["/video"]
    assert len(records[-1].calls) == MAX_CALLS


# ── PEP 3333 servers make a Content-Length for a single chunk: a watcher may not take it away


def served_by_wsgiref(app: Any) -> bytes:
    environ: dict[str, Any] = {"PATH_INFO": "/x"}
    wsgiref.util.setup_testing_defaults(environ)
    out = io.BytesIO()
    SimpleHandler(io.BytesIO(), out, io.StringIO(), environ).run(app)
    return out.getvalue().partition(b"Content-Type")[2]


@pytest.mark.parametrize("chunks", [[b"hello"], [b"a", b"b"], []])
def test_the_length_of_a_plain_wsgi_response_stays(chunks: list[bytes]) -> None:
    class Plain:
        def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return chunks

    app = Plain()
    before = served_by_wsgiref(app)
    with watch(app=app) as watched:
        assert served_by_wsgiref(app) == before
        assert value(watched, HTTP_REQUESTS, status="200") == 1


# ── Connections that are no requests, and applications that watch themselves


def test_a_call_of_a_websocket_is_a_request_of_its_own(records: list[Record]) -> None:
    app = FastAPI()

    @app.websocket("/live")
    async def live(web: WebSocket) -> None:
        await web.accept()
        for _ in range(2):
            await web.receive_text()
            await asyncio.to_thread(quick)
            await web.send_text("done")
        await web.close()

    with (
        watch(app=app, on_record=records.append) as watched,
        TestClient(app) as web,
        web.websocket_connect("/live") as live_web,
    ):
        for _ in range(2):
            live_web.send_text("next")
            assert live_web.receive_text() == "done"
        assert value(watched, HTTP_IN_PROGRESS) == 0
    assert summary(records) == [("none", 200, "none", 1)] * 2


def test_an_application_can_watch_itself_in_its_lifespan(records: list[Record]) -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with watch(app=app, on_record=records.append):
            yield

    app = FastAPI(lifespan=lifespan)
    app.post("/draw")(quick)
    for _ in range(2):
        with TestClient(app) as web:
            assert web.post("/draw").status_code == 200
            page = web.get("/metrics").text
        failures = re.findall(r"safelight_probe_failures_total\{.*\} (.*)", page)
        assert set(failures) == {"0.0"}
    assert type(app) is FastAPI
    assert summary(records) == [("/draw", 200, "none", 1)] * 2


def test_a_request_inside_a_request_counts_its_call_once(records: list[Record]) -> None:
    app = FastAPI()
    app.post("/inner")(quick)

    @app.post("/outer")
    async def outer() -> None:
        async with client(app) as web:
            await web.post("/inner")

    with watch(app=app, on_record=records.append) as watched:
        assert ask(app, "/outer", "POST").status_code == 200
        assert value(watched, MODEL_REQUESTS, status="success") == 1
        assert len(series(watched, HTTP_REQUESTS)) == 2
    assert summary(records) == [("/inner", 200, "none", 1), ("/outer", 200, "none", 1)]
