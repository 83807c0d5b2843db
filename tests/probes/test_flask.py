from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, request
from opentelemetry.sdk.trace import TracerProvider
from werkzeug.test import TestResponse, create_environ, run_wsgi_app

from safelight.errors import AlreadyWatched
from safelight.metrics.catalog import (
    HTTP_IN_PROGRESS,
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
    PROBE_FAILURES,
)
from safelight.metrics.registry import Meter
from safelight.probes.flask import FlaskProbe
from safelight.telemetry.record import Record
from safelight.telemetry.scope import current_exchange
from tests.probes.web import TRACEPARENT, call_model
from tests.reading import OPENMETRICS, at_once, series, text, value


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.fixture
def app(meter: Meter, records: list[Record]) -> Flask:
    app = service()
    FlaskProbe(app, meter=meter, sink=records.append)
    return app


def service() -> Flask:
    app, shop = Flask("service"), Blueprint("shop", "shop", url_prefix="/shops/<name>")

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    @app.post("/echo/<int:number>")
    def echo(number: int) -> bytes:
        return request.get_data()

    @app.get("/stream")
    def stream() -> Response:
        return Response(b"x" * 1000 for _ in range(10))

    @app.get("/break")
    def break_off() -> Response:
        def chunks() -> Iterator[bytes]:
            call_model()
            yield b"x" * 1000
            raise RuntimeError("no")

        return Response(chunks())

    @app.get("/fail")
    def fail() -> str:
        raise RuntimeError("no")

    @app.post("/edit")
    def edit() -> str:
        if not request.get_data():
            abort(422)
        call_model()
        return "edited"

    @shop.get("/orders/<int:order>")
    def orders(name: str, order: int) -> str:
        return name

    app.register_blueprint(shop)
    return app


def ask(app: Flask, path: str, method: str = "GET", **options: Any) -> TestResponse:
    """Make one request and close its response, as a server does."""
    return app.test_client().open(path, method=method, buffered=True, **options)


def test_a_request_is_counted_and_timed_by_its_rule(app: Flask, meter: Meter) -> None:
    assert ask(app, "/hello").text == "hello"
    assert value(meter, HTTP_REQUESTS, handler="/hello", method="GET", status="200") == 1
    assert value(meter, HTTP_SECONDS, "_count", handler="/hello", method="GET") == 1
    assert value(meter, PROBE_FAILURES) == 0


@pytest.mark.parametrize(
    ("path", "method", "status", "handler"),
    [
        ("/shops/mine/orders/7", "GET", 200, "/shops/<name>/orders/<int:order>"),
        ("/shops/mine/orders/x", "GET", 404, "none"),
        ("/nothing", "GET", 404, "none"),
        ("/hello", "HEAD", 200, "/hello"),
        ("/hello", "DELETE", 405, "none"),  # Flask has no rule for a wrong method
        ("/static/nothing.png", "GET", 404, "/static/<path:filename>"),
    ],
)
def test_a_path_never_becomes_a_label(
    app: Flask, meter: Meter, path: str, method: str, status: int, handler: str
) -> None:
    assert ask(app, path, method).status_code == status
    assert series(meter, HTTP_REQUESTS) == [
        {"handler": handler, "method": method, "status": str(status)}
    ]


def test_the_bytes_of_both_directions_are_counted_without_reading_the_body(
    app: Flask, meter: Meter
) -> None:
    assert ask(app, "/echo/1", "POST", data=b"x" * 12_345).data == b"x" * 12_345
    assert value(meter, HTTP_REQUEST_BYTES, "_sum", handler="/echo/<int:number>") == 12_345
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum", handler="/echo/<int:number>") == 12_345


def test_a_streamed_response_is_counted_to_its_last_byte(app: Flask, meter: Meter) -> None:
    assert len(ask(app, "/stream").data) == 10_000
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum", handler="/stream") == 10_000


def test_a_streamed_response_runs_until_it_is_closed(app: Flask, meter: Meter) -> None:
    answer = app.test_client().get("/stream")
    assert value(meter, HTTP_IN_PROGRESS) == 1
    answer.close()
    answer.close()
    assert value(meter, HTTP_IN_PROGRESS) == 0
    assert value(meter, HTTP_REQUESTS) == 1


def test_an_interrupted_response_is_a_failure(
    app: Flask, meter: Meter, records: list[Record]
) -> None:
    with pytest.raises(RuntimeError, match="no"):
        ask(app, "/break")
    assert value(meter, HTTP_REQUESTS, handler="/break") == 1
    assert value(meter, HTTP_IN_PROGRESS) == 0
    assert [(record.endpoint, record.error) for record in records] == [("/break", "internal_error")]


def test_an_exception_that_flask_handles_counts_as_500(app: Flask, meter: Meter) -> None:
    assert ask(app, "/fail").status_code == 500
    assert value(meter, HTTP_REQUESTS, handler="/fail", status="500") == 1


def test_an_exception_that_flask_raises_counts_as_500(app: Flask, meter: Meter) -> None:
    app.testing = True
    with pytest.raises(RuntimeError, match="no"):
        ask(app, "/fail")
    assert value(meter, HTTP_REQUESTS, handler="/fail", status="500") == 1
    assert value(meter, HTTP_IN_PROGRESS) == 0


def test_metrics_are_served_in_front_of_the_application(app: Flask, meter: Meter) -> None:
    ask(app, "/hello")
    plain = ask(app, "/metrics")
    assert plain.content_type.startswith("text/plain; version=")
    assert 'http_requests_total{handler="/hello"' in plain.text
    open_metrics = ask(app, "/metrics", headers={"accept": OPENMETRICS})
    assert open_metrics.text.endswith("# EOF\n")
    assert [found["handler"] for found in series(meter, HTTP_REQUESTS)] == ["/hello"]


def test_requests_that_reach_a_model_become_records_and_mark_their_route(
    app: Flask, records: list[Record]
) -> None:
    ask(app, "/hello")
    ask(app, "/edit", "POST")
    assert records == []
    ask(app, "/edit", "POST", data=b"x")
    ask(app, "/edit", "POST")
    assert [(record.endpoint, record.status_code, record.error) for record in records] == [
        ("/edit", 200, "none"),
        ("/edit", 422, "invalid_parameter"),
    ]
    assert records[0].seconds == pytest.approx(sum(records[0].stages.values()))


def test_a_named_model_endpoint_counts_from_the_start(meter: Meter, records: list[Record]) -> None:
    app = service()
    FlaskProbe(app, meter=meter, sink=records.append, model_endpoints=["/edit"])
    ask(app, "/edit", "POST")
    assert records[0].error == "invalid_parameter"


def test_a_header_of_a_request_that_has_no_span_is_no_exemplar(app: Flask, meter: Meter) -> None:
    ask(app, "/hello", headers={"traceparent": TRACEPARENT})
    assert "trace_id" not in text(meter, OPENMETRICS)


def test_a_span_is_the_exemplar(app: Flask, meter: Meter) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("server") as span:
        ask(app, "/hello")
    assert format(span.get_span_context().trace_id, "032x") in text(meter, OPENMETRICS)


def test_a_sink_that_fails_does_not_fail_the_request_and_is_counted(meter: Meter) -> None:
    def write(record: Record) -> None:
        raise OSError("disk full")

    app = service()
    FlaskProbe(app, meter=meter, sink=write)
    assert ask(app, "/edit", "POST", data=b"x").text == "edited"
    assert value(meter, PROBE_FAILURES, probe="flask") == 1


def test_after_a_request_no_exchange_is_current(app: Flask) -> None:
    ask(app, "/hello")
    assert current_exchange() is None


def test_an_application_can_be_watched_and_unwatched_after_its_first_request(meter: Meter) -> None:
    app = service()
    original: Any = app.wsgi_app
    app.before_request(lambda: None)
    hooks = [*app.before_request_funcs[None]]
    ask(app, "/hello")
    probe = FlaskProbe(app, meter=meter, sink=lambda record: None)
    ask(app, "/hello")
    probe.unwatch()
    probe.unwatch()
    ask(app, "/hello")
    assert ask(app, "/metrics").status_code == 404
    assert value(meter, HTTP_REQUESTS) == 1
    assert app.wsgi_app == original
    assert app.before_request_funcs[None] == hooks


def test_watching_twice_is_refused(app: Flask, meter: Meter) -> None:
    with pytest.raises(AlreadyWatched, match="application"):
        FlaskProbe(app, meter=meter, sink=lambda record: None)


def test_concurrent_threads_are_counted_separately(
    app: Flask, meter: Meter, records: list[Record]
) -> None:
    def work(_: int) -> None:
        for _ in range(10):
            ask(app, "/edit", "POST", data=b"x")

    at_once(work, threads=4)
    assert value(meter, HTTP_REQUESTS, handler="/edit", status="200") == 40
    assert len({record.facts.id for record in records}) == 40
    assert value(meter, HTTP_IN_PROGRESS) == 0


def test_an_invalid_content_length_reaches_the_application(meter: Meter) -> None:
    app = Flask("tests")

    @app.post("/")
    def answer() -> str:
        return "ok"

    probe = FlaskProbe(app, meter=meter, sink=lambda record: None)
    environ = create_environ("/", method="POST")
    environ["CONTENT_LENGTH"] = "abc"
    _, status, _ = run_wsgi_app(app, environ)
    probe.unwatch()

    assert status == "200 OK"
    assert value(meter, PROBE_FAILURES, probe="flask") == 0
