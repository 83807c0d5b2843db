import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from safelight.errors import AlreadyWatched
from safelight.metrics.catalog import (
    HTTP_IN_PROGRESS,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
    PROBE_FAILURES,
)
from safelight.metrics.page import Readers
from safelight.metrics.registry import Meter
from safelight.probes.asgi import AppProbe, AsgiProbe
from safelight.probes.declare import fail
from safelight.telemetry.record import Record
from safelight.telemetry.scope import current_exchange
from safelight.telemetry.trace_context import sampled_id
from tests.probes.web import (
    EMPTY_BODY,
    TRACE,
    TRACEPARENT,
    ask,
    call_model,
    client,
    drive,
    scope_of,
)
from tests.reading import OPENMETRICS, series, text, value

TRACER = TracerProvider().get_tracer("test")


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.fixture
def app(meter: Meter, records: list[Record]) -> FastAPI:
    app = service()
    AppProbe(app, meter=meter, sink=records.append)
    return app


async def thousands(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000


def service() -> FastAPI:
    app = FastAPI()

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body())

    @app.post("/json")
    async def read_json(request: Request) -> Any:
        return await request.json()

    @app.post("/unread")
    async def unread() -> None:
        return None

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(thousands(10))

    @app.get("/fail")
    async def fail() -> None:
        raise RuntimeError("no")

    @app.post("/edit")
    async def edit(request: Request) -> str:
        if not await request.body():
            raise HTTPException(422, "an image, please")
        call_model()
        return "edited"

    return app


# ── What is counted ──────────────────────────────────────────────────────────────────────────────


def test_d1_a_request_is_counted_and_timed_under_common_metric_names(
    app: FastAPI, meter: Meter
) -> None:
    assert ask(app, "/hello").json() == "hello"
    assert value(meter, HTTP_REQUESTS, handler="/hello", method="GET", status="200") == 1
    assert value(meter, HTTP_SECONDS, "_count", handler="/hello", method="GET") == 1
    assert 0 < value(meter, HTTP_SECONDS, "_sum") < 5
    assert 'http_requests_total{handler="/hello",method="GET",status="200"} 1.0' in text(meter)


def test_p1_the_probe_does_not_read_the_body(app: FastAPI) -> None:
    body = {"instruction": "make him old", "image": "x" * 100_000}
    assert ask(app, "/json", "POST", json=body).json() == body


def test_the_bytes_of_both_directions_are_counted(app: FastAPI, meter: Meter) -> None:
    ask(app, "/echo", "POST", content=b"x" * 12_345)
    assert value(meter, HTTP_REQUEST_BYTES, "_sum", handler="/echo") == 12_345
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum", handler="/echo") == 12_345


def test_an_upload_in_chunks_is_counted(app: FastAPI, meter: Meter) -> None:
    assert len(ask(app, "/echo", "POST", content=thousands(7)).content) == 7000
    assert value(meter, HTTP_REQUEST_BYTES, "_sum") == 7000


def test_an_unread_body_is_not_counted(app: FastAPI, meter: Meter) -> None:
    ask(app, "/unread", "POST", content=b"x" * 1000)
    assert value(meter, HTTP_REQUEST_BYTES, "_sum", handler="/unread") == 0


def test_a_streamed_response_is_counted_to_its_last_byte(app: FastAPI, meter: Meter) -> None:
    assert len(ask(app, "/stream").content) == 10_000
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum", handler="/stream") == 10_000


def test_an_exception_counts_as_500_and_is_raised(app: FastAPI, meter: Meter) -> None:
    with pytest.raises(RuntimeError, match="no"):
        asyncio.run(drive(app, scope_of("/fail"), EMPTY_BODY))
    assert value(meter, HTTP_REQUESTS, handler="/fail", status="500") == 1
    assert ask(app, "/fail").status_code == 500
    assert value(meter, HTTP_REQUESTS, handler="/fail", status="500") == 2
    assert value(meter, HTTP_IN_PROGRESS) == 0
    assert value(meter, PROBE_FAILURES) == 0


def test_the_gauge_of_running_requests_rises_and_falls(meter: Meter) -> None:
    app, arrived, go = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/wait")
    async def wait() -> None:
        arrived.set()
        await go.wait()

    async def both() -> tuple[float, float]:
        async with client(app) as web:
            in_progress = asyncio.create_task(web.get("/wait"))
            await arrived.wait()
            during = value(meter, HTTP_IN_PROGRESS)
            go.set()
            await in_progress
        return during, value(meter, HTTP_IN_PROGRESS)

    AppProbe(app, meter=meter, sink=lambda record: None)
    assert asyncio.run(both()) == (1, 0)


def test_a_disconnected_caller_counts_as_499(meter: Meter, records: list[Record]) -> None:
    app, arrived = FastAPI(), asyncio.Event()

    @app.get("/wait")
    async def wait() -> None:
        arrived.set()
        await asyncio.Event().wait()

    async def leave() -> None:
        in_progress = asyncio.create_task(drive(app, scope_of("/wait"), EMPTY_BODY))
        await arrived.wait()
        in_progress.cancel()
        await asyncio.gather(in_progress, return_exceptions=True)

    AppProbe(app, meter=meter, sink=records.append, model_endpoints=["/wait"])
    asyncio.run(leave())
    assert value(meter, HTTP_REQUESTS, handler="/wait", status="499") == 1
    assert value(meter, HTTP_IN_PROGRESS) == 0
    assert records[0].error == "cancelled"


def test_an_invented_method_becomes_other(app: FastAPI, meter: Meter) -> None:
    ask(app, "/hello", "BREW")
    assert series(meter, HTTP_REQUESTS) == [
        {"handler": "/hello", "method": "other", "status": "405"}
    ]


# ── Other connections ────────────────────────────────────────────────────────────────────────────


def test_a_websocket_passes_through(meter: Meter) -> None:
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello " + await socket.receive_text())
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/ws", greet)])
    AppProbe(app, meter=meter, sink=lambda record: None)
    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "you"}]
    sent = asyncio.run(drive(app, scope_of("/ws", kind="websocket"), *messages))
    assert [message["type"] for message in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "hello you"
    assert series(meter, HTTP_REQUESTS) == []


def test_lifespan_passes_through(app: FastAPI, meter: Meter) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = asyncio.run(drive(app, {"type": "lifespan", "asgi": {}}, *messages))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert series(meter, HTTP_REQUESTS) == []


# ── Traces ───────────────────────────────────────────────────────────────────────────────────────


class Tracing:
    """A tracing middleware like OpenTelemetry's: its span ends when it returns."""

    opened: str = ""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with TRACER.start_as_current_span("request") as span:
            Tracing.opened = format(span.get_span_context().trace_id, "032x")
            await self._app(scope, receive, send)


def exemplars(meter: Meter) -> set[str]:
    """Return the trace ids of the exposition's exemplars."""
    lines = [line for line in text(meter, OPENMETRICS).splitlines() if "trace_id=" in line]
    return {line.split('trace_id="')[1][:32] for line in lines}


def test_an_outer_span_is_the_exemplar(app: FastAPI, meter: Meter) -> None:
    with TRACER.start_as_current_span("server") as span:
        ask(app, "/hello")
    assert exemplars(meter) == {format(span.get_span_context().trace_id, "032x")}


def test_a_span_of_an_inner_middleware_is_the_exemplar(meter: Meter) -> None:
    app = service()
    app.add_middleware(Tracing)
    AppProbe(app, meter=meter, sink=lambda record: None)
    ask(app, "/hello")
    assert exemplars(meter) == {Tracing.opened}


def test_a_header_of_a_request_that_has_no_span_is_no_exemplar(app: FastAPI, meter: Meter) -> None:
    ask(app, "/hello", headers={"traceparent": TRACEPARENT})
    assert exemplars(meter) == set()


def test_without_a_trace_there_is_no_exemplar(app: FastAPI, meter: Meter) -> None:
    ask(app, "/hello")
    assert exemplars(meter) == set()


def test_the_record_of_a_model_request_has_the_trace(app: FastAPI, records: list[Record]) -> None:
    ask(app, "/edit", "POST", content=b"x", headers={"traceparent": TRACEPARENT})
    assert sampled_id(records[0].facts.trace) == TRACE


# ── Records ──────────────────────────────────────────────────────────────────────────────────────


def test_only_requests_that_reach_a_model_become_records(
    app: FastAPI, records: list[Record]
) -> None:
    ask(app, "/hello")
    assert records == []
    ask(app, "/edit", "POST", content=b"x")
    (record,) = records
    assert (record.endpoint, record.status_code, record.error) == ("/edit", 200, "none")
    assert record.facts.instruction_type == "make_him_old"
    assert record.seconds == pytest.approx(sum(record.stages.values()))


def test_a_bad_request_counts_once_its_route_has_called_the_model(
    app: FastAPI, records: list[Record]
) -> None:
    ask(app, "/edit", "POST")
    assert records == []  # the route has not called a model yet
    ask(app, "/edit", "POST", content=b"x")
    ask(app, "/edit", "POST")
    assert [(record.status_code, record.error) for record in records] == [
        (200, "none"),
        (422, "invalid_parameter"),
    ]
    assert records[1].facts.instruction_type == "none"


def test_a_named_model_endpoint_counts_from_the_start(meter: Meter, records: list[Record]) -> None:
    app = service()
    AppProbe(app, meter=meter, sink=records.append, model_endpoints=["/edit"])
    ask(app, "/edit", "POST")
    assert records[0].error == "invalid_parameter"


def test_a_model_failure_keeps_its_own_reason(meter: Meter, records: list[Record]) -> None:
    app = FastAPI()

    @app.post("/edit")
    async def edit() -> None:
        call_model(error="cuda_oom")
        raise RuntimeError("CUDA out of memory")

    AppProbe(app, meter=meter, sink=records.append)
    assert ask(app, "/edit", "POST").status_code == 500
    assert (records[0].status_code, records[0].error) == (500, "cuda_oom")


# ── The watcher's own failures ───────────────────────────────────────────────────────────────────


def test_a_sink_that_fails_does_not_fail_the_request_and_is_counted(meter: Meter) -> None:
    def write(record: Record) -> None:
        raise OSError("disk full")

    app = service()
    AppProbe(app, meter=meter, sink=write)
    assert ask(app, "/edit", "POST", content=b"x").json() == "edited"
    assert value(meter, PROBE_FAILURES, probe="asgi") == 1


def test_an_unsupported_route_counts_as_a_probe_failure(meter: Meter) -> None:
    async def strange(scope: Any, receive: Any, send: Any) -> None:
        scope["endpoint"] = scope["route"] = object()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    probe = AsgiProbe(strange, meter=meter, sink=lambda record: None)
    assert ask(probe).text == "fine"
    assert value(meter, PROBE_FAILURES, probe="asgi") == 1


def test_any_other_asgi_application_can_be_wrapped(meter: Meter) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    assert ask(AsgiProbe(bare, meter=meter, sink=lambda record: None)).status_code == 204
    assert series(meter, HTTP_REQUESTS) == [{"handler": "none", "method": "GET", "status": "204"}]


# ── /metrics, on and off ─────────────────────────────────────────────────────────────────────────


def test_p9_metrics_are_served_in_front_of_the_application(app: FastAPI) -> None:
    ask(app, "/hello")
    answer = ask(app, "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert 'http_requests_total{handler="/hello"' in answer.text


def test_openmetrics_are_served_if_accepted(app: FastAPI) -> None:
    answer = ask(app, "/metrics", headers={"accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_scrape_is_not_counted_as_a_request(app: FastAPI, meter: Meter) -> None:
    ask(app, "/metrics")
    assert series(meter, HTTP_REQUESTS) == []


def test_a_running_application_can_be_watched_and_unwatched(meter: Meter) -> None:
    app, arrived, go = service(), asyncio.Event(), asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        arrived.set()
        await go.wait()
        return "done"

    async def story() -> Any:
        async with client(app) as web:
            assert (await web.get("/hello")).status_code == 200
            probe = AppProbe(app, meter=meter, sink=lambda record: None)
            in_progress = asyncio.create_task(web.get("/wait"))
            await arrived.wait()
            probe.unwatch()
            assert (await web.get("/hello")).status_code == 200
            assert (await web.get("/metrics")).status_code == 404
            go.set()
            return (await in_progress).json()

    assert asyncio.run(story()) == "done"
    assert [found["handler"] for found in series(meter, HTTP_REQUESTS)] == ["/wait"]
    assert value(meter, HTTP_IN_PROGRESS) == 0


def test_a_second_watch_is_refused_until_the_first_ends(meter: Meter) -> None:
    app = service()
    options: dict[str, Any] = {"meter": meter, "sink": lambda record: None}
    first = AppProbe(app, **options)
    with pytest.raises(AlreadyWatched, match="application"):
        AppProbe(app, **options)
    first.unwatch()
    first.unwatch()
    AppProbe(app, meter=Meter("pix"), sink=lambda record: None)
    assert ask(app, "/hello").status_code == 200


def test_unwatch_keeps_other_middleware(meter: Meter) -> None:
    app = service()
    app.add_middleware(Tracing)
    before = list(app.user_middleware)
    AppProbe(app, meter=meter, sink=lambda record: None).unwatch()
    assert app.user_middleware == before


def test_a_broken_body_has_the_same_response_as_without_the_probe(app: FastAPI) -> None:
    answer = ask(app, "/json", "POST", content=b"{")
    assert answer.status_code == 500
    with pytest.raises(json.JSONDecodeError):
        asyncio.run(drive(app, scope_of("/json", "POST"), {**EMPTY_BODY, "body": b"{"}))


def test_background_tasks_do_not_count_as_request_time(meter: Meter) -> None:
    app, seen = FastAPI(), list[Record]()

    @app.get("/")
    async def answer(later: BackgroundTasks) -> str:
        exchange = current_exchange()
        assert exchange is not None
        exchange.is_model_request = True
        later.add_task(asyncio.sleep, 0.2)
        return "ok"

    probe = AppProbe(app, meter=meter, sink=seen.append)
    ask(app)
    probe.unwatch()

    assert value(meter, HTTP_SECONDS, "_sum") < 0.15
    assert seen[0].seconds < 0.15
    assert sum(seen[0].stages.values()) == pytest.approx(seen[0].seconds)


# ── What the caller received (W2) ────────────────────────────────────────────────────────────────


class Refusing:
    """A middleware that refuses every request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response("later", 429)(scope, receive, send)


def with_exception_handler(app: FastAPI) -> None:
    @app.exception_handler(Exception)
    async def busy(request: Request, error: Exception) -> Response:
        return Response("later", 503)


def with_later_middleware(app: FastAPI) -> None:
    app.add_middleware(Refusing)


@pytest.mark.parametrize(
    ("change", "status"), [(with_exception_handler, 503), (with_later_middleware, 429)]
)
def test_w2_the_status_that_the_caller_received_is_counted(
    change: Any, status: int, meter: Meter, records: list[Record]
) -> None:
    app = service()
    AppProbe(app, meter=meter, sink=records.append, model_endpoints=["/fail", "none"])
    change(app)
    answer = ask(app, "/fail")
    assert answer.status_code == status
    assert value(meter, HTTP_REQUESTS, status=str(status)) == 1
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == len(answer.content)
    assert [record.status_code for record in records] == [status]


def test_w2_an_application_inside_others_is_watched_as_a_whole(meter: Meter) -> None:
    whole = CORSMiddleware(Refusing(service()))
    AppProbe(whole, meter=meter, sink=lambda record: None)
    assert ask(whole, "/hello").status_code == 429
    assert value(meter, HTTP_REQUESTS, status="429") == 1


def test_w2_a_wrapped_application_has_its_routes(meter: Meter) -> None:
    whole = CORSMiddleware(service())
    AppProbe(whole, meter=meter, sink=lambda record: None)
    ask(whole, "/hello")
    assert value(meter, HTTP_REQUESTS, handler="/hello", status="200") == 1


async def broken_stream(error: BaseException) -> AsyncIterator[bytes]:
    yield b"x" * 1000
    raise error


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("CUDA out of memory"), "500", "cuda_oom"),
        (asyncio.CancelledError(), "499", "cancelled"),
        (ClientDisconnect(), "499", "cancelled"),
    ],
)
def test_w2_a_stream_that_stops_half_way_is_no_success(
    error: BaseException, status: str, reason: str, meter: Meter, records: list[Record]
) -> None:
    app = FastAPI()
    app.get("/stream")(lambda: StreamingResponse(broken_stream(error)))
    AppProbe(app, meter=meter, sink=records.append, model_endpoints=["/stream"])
    with contextlib.suppress(BaseException):
        scope = {**scope_of("/stream"), "asgi": {"version": "3.0", "spec_version": "2.4"}}
        asyncio.run(drive(app, scope, EMPTY_BODY))
    assert value(meter, HTTP_REQUESTS, status=status) == 1
    assert [record.error for record in records] == [reason]


def test_w2_an_application_that_returns_without_a_response_has_failed(meter: Meter) -> None:
    class Silent:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

    app = Silent()
    AppProbe(app, meter=meter, sink=lambda record: None)
    asyncio.run(drive(app, scope_of("/"), EMPTY_BODY))
    assert value(meter, HTTP_REQUESTS, status="500") == 1


def test_w2_a_caller_who_disconnects_before_the_answer_counts_as_499(meter: Meter) -> None:
    class Waiting:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            await Response("too late")(scope, receive, send)

    app = Waiting()
    AppProbe(app, meter=meter, sink=lambda record: None)
    asyncio.run(drive(app, scope_of("/"), EMPTY_BODY, {"type": "http.disconnect"}))
    assert value(meter, HTTP_REQUESTS, status="499") == 1


def test_the_gauge_of_running_requests_does_not_wait_for_background_tasks(meter: Meter) -> None:
    app, seen = FastAPI(), list[float]()

    @app.get("/later")
    def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: seen.append(value(meter, HTTP_IN_PROGRESS)))

    AppProbe(app, meter=meter, sink=lambda record: None)
    ask(app, "/later")
    assert [*seen, value(meter, HTTP_IN_PROGRESS)] == [0, 0]


def test_a_failure_that_the_handler_declares_is_not_counted_for_later_requests(
    app: FastAPI, meter: Meter
) -> None:
    answers = iter((True, False, False))

    @app.get("/sometimes")
    def sometimes() -> str:
        if next(answers):
            fail("model_error")
        return "ok"

    for _ in range(3):
        ask(app, "/sometimes")
    assert value(meter, HTTP_REQUESTS, handler="/sometimes", status="500") == 1
    assert value(meter, HTTP_REQUESTS, handler="/sometimes", status="200") == 2


def test_requests_without_a_route_in_the_scope_keep_their_own_templates(meter: Meter) -> None:
    """Older releases of Starlette do not store the route."""

    async def ok(request: Request) -> Response:
        request.scope.pop("route", None)
        return Response("ok")

    inner = Starlette(routes=[Route("/a/{x}", ok), Route("/b/{x}", ok)])
    app = AsgiProbe(inner, meter=meter, sink=lambda record: None)
    for path in ("/a/1", "/a/2", "/b/1", "/b/2"):
        ask(app, path)
    for handler in ("/a/{x}", "/b/{x}"):
        assert value(meter, HTTP_REQUESTS, handler=handler, status="200") == 2


@pytest.mark.parametrize("status", [200, 404])
def test_each_status_of_a_route_has_its_own_count(app: FastAPI, meter: Meter, status: int) -> None:
    @app.get("/status/{number}")
    def answer(number: int) -> Response:
        return Response("", number)

    for number in (200, 404, 200, 404, 200):
        ask(app, f"/status/{number}")
    expected = {200: 3, 404: 2}[status]
    assert value(meter, HTTP_REQUESTS, handler="/status/{number}", status=str(status)) == expected


def test_a_route_that_is_removed_leaves_nothing_to_the_next_one(meter: Meter) -> None:
    """Python may give the id of a removed route to a new one."""
    app = FastAPI()
    AppProbe(app, meter=meter, sink=lambda record: None)
    for number in range(30):
        app.get(f"/route{number}")(lambda: "ok")
        for _ in range(3):
            ask(app, f"/route{number}")
        del app.router.routes[-1]
    for number in range(30):
        assert value(meter, HTTP_REQUESTS, handler=f"/route{number}") == 3


def test_a_reader_of_the_metrics_for_whom_there_is_no_place_waits_a_second(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readers, "enter", lambda *_arguments, **_options: False)
    started = perf_counter()
    answer = ask(app, "/metrics")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert perf_counter() - started >= 1
