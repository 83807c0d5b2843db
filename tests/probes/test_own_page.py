"""Metrics that an application already has stay visible, whatever serves them (W8)."""

from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from fastapi import FastAPI, Request, Response
from flask import Flask
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    generate_latest,
    make_asgi_app,
    make_wsgi_app,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from safelight import watch
from safelight.metrics.registry import parse
from tests.probes.web import ask
from tests.reading import OPENMETRICS

Serve = Callable[[CollectorRegistry], Any]


@pytest.fixture
def registry() -> CollectorRegistry:
    own = CollectorRegistry()
    Counter("credits_spent", "What the business counts.", registry=own).inc(3)
    return own


def by_route(registry: CollectorRegistry) -> Any:
    app = FastAPI()
    app.get("/metrics")(lambda: Response(generate_latest(registry), media_type="text/plain"))
    return app


def by_mount(registry: CollectorRegistry) -> Any:
    app = FastAPI()
    app.mount("/metrics", make_asgi_app(registry))
    return app


def by_mount_of_starlette(registry: CollectorRegistry) -> Any:
    return Starlette(routes=[Mount("/metrics", make_asgi_app(registry))])


def by_instrumentator(registry: CollectorRegistry) -> Any:
    app = FastAPI()
    Instrumentator(registry=registry).instrument(app).expose(app)
    return app


def by_flask_route(registry: CollectorRegistry) -> Any:
    app = Flask("service")
    app.get("/metrics")(lambda: (generate_latest(registry), 200, {"Content-Type": "text/plain"}))
    return app


def by_dispatcher(registry: CollectorRegistry) -> Any:
    app = Flask("service")
    app.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, {"/metrics": make_wsgi_app(registry)}
    )
    return app


def page(app: Any, path: str = "/metrics", **headers: str) -> Any:
    if isinstance(app, Flask):
        return app.test_client().get(path, headers=headers)
    return ask(app, path, headers=headers, follow_redirects=True)


def names(response: Any) -> set[str]:
    return {name for name, _ in parse(response.text)}


ALL = [by_route, by_mount, by_mount_of_starlette, by_instrumentator, by_flask_route, by_dispatcher]


@pytest.mark.parametrize("serve", ALL, ids=lambda serve: serve.__name__)
def test_w8_both_the_own_metrics_and_safelights_are_on_the_page(
    serve: Serve, registry: CollectorRegistry
) -> None:
    app = serve(registry)
    before = names(page(app))
    with watch(app=app):
        watched = page(app)
        assert watched.status_code == 200
        assert before <= names(watched)
        assert "credits_spent_total 3.0" in watched.text
        assert {"safelight_service_info", "http_requests_inprogress"} <= names(watched)
    after = names(page(app))
    assert before <= after
    assert "safelight_service_info" not in after


@pytest.mark.parametrize("serve", ALL, ids=lambda serve: serve.__name__)
def test_every_family_is_on_the_page_once(serve: Serve, registry: CollectorRegistry) -> None:
    app = serve(registry)
    with watch(app=app):
        page(app, "/other")
        types = [
            line.split()[2] for line in page(app).text.splitlines() if line.startswith("# TYPE")
        ]
    assert sorted(types) == sorted(set(types))


def test_a_family_of_the_application_stays_and_safelights_gets_a_prefix(
    registry: CollectorRegistry,
) -> None:
    own = Counter("http_requests", "Its own.", ["status"], registry=registry)
    own.labels("2xx").inc(7)
    app = by_route(registry)
    with watch(app=app):
        ask(app, "/other")
        text = page(app).text
    assert 'http_requests_total{status="2xx"} 7.0' in text
    assert text.count("# TYPE http_requests_total") == 1
    assert 'safelight_http_requests_total{handler="none",method="GET",status="404"} 1.0' in text


def test_openmetrics_stays_openmetrics(registry: CollectorRegistry) -> None:
    app = FastAPI()
    content = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
    app.get("/metrics")(lambda: Response(content, media_type=openmetrics.CONTENT_TYPE_LATEST))
    with watch(app=app):
        answer = page(app, accept=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert answer.text.count("# EOF") == 1
    assert "safelight_service_info" in answer.text


@pytest.fixture
def default_counter() -> Iterator[Counter]:
    counter = Counter("jobs_of_the_night", "In the default registry.")
    yield counter
    REGISTRY.unregister(counter)


@pytest.mark.parametrize("make", [FastAPI, lambda: Flask("service")])
def test_w8_the_default_registry_is_visible_without_a_page_of_its_own(
    make: Any, default_counter: Counter
) -> None:
    default_counter.inc(5)
    app = make()
    with watch(app=app):
        assert "jobs_of_the_night_total 5.0" in page(app).text


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response("<html></html>", media_type="text/html"),
        lambda: Response("no metrics here", media_type="text/plain"),
        lambda: Response("no", 500, media_type="text/plain"),
        lambda: 1 / 0,
    ],
)
def test_another_page_or_a_broken_one_does_not_hide_safelights(answer: Any) -> None:
    app = FastAPI()
    app.get("/metrics")(answer)
    with watch(app=app):
        assert "safelight_service_info" in page(app).text


def refusing_fastapi(status: int) -> Any:
    app = FastAPI()

    @app.get("/metrics")
    def own(request: Request) -> Response:
        if "authorization" in request.headers:
            return Response("sales_total 3.0\n", media_type="text/plain")
        return Response("not for you", status, {"www-authenticate": "Basic"})

    return app


def refusing_middleware(status: int) -> Any:
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Any:
        if "authorization" in request.headers:
            return await call_next(request)
        return Response("not for you", status, {"www-authenticate": "Basic"})

    return app


def refusing_flask(status: int) -> Any:
    app = Flask("service")

    @app.before_request
    def guard() -> Any:
        if "Authorization" in flask.request.headers:
            return None
        return "not for you", status, {"WWW-Authenticate": "Basic"}

    return app


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("make", [refusing_fastapi, refusing_middleware, refusing_flask])
def test_metrics_that_the_application_refuses_are_not_shown(
    make: Callable[[int], Any], status: int, default_counter: Counter
) -> None:
    app = make(status)
    before = page(app)
    with watch(app=app):
        refused = page(app)
        assert (refused.status_code, refused.text) == (before.status_code, "not for you")
        assert refused.headers["www-authenticate"] == "Basic"
        assert "safelight_service_info" in page(app, authorization="Basic x").text


def test_w8_metrics_path_leaves_the_own_page_alone(registry: CollectorRegistry) -> None:
    app = by_route(registry)
    before = page(app).text
    with watch(app=app, metrics_path="/safelight"):
        assert page(app).text == before
        assert "safelight_service_info" in page(app, "/safelight").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_w8_other_methods_pass_through(method: str) -> None:
    app, flask = FastAPI(), Flask("service")
    app.api_route("/metrics", methods=[method])(lambda: "taken")
    flask.route("/metrics", methods=[method])(lambda: "taken")
    with watch(app=app), watch(app=flask):
        assert ask(app, "/metrics", method).json() == "taken"
        assert flask.test_client().open("/metrics", method=method).text == "taken"


def test_w8_the_directory_of_multiprocess_mode_does_not_mix_two_watches() -> None:
    one, two = FastAPI(), FastAPI()
    with watch(app=one), watch(app=two):
        for _ in range(3):
            ask(one, "/a")
        ask(two, "/a")
        counts = [parse(page(app).text) for app in (one, two)]
    key = (
        "http_requests_total",
        frozenset({("handler", "none"), ("method", "GET"), ("status", "404")}),
    )
    assert [each[key] for each in counts] == [3, 1]


def test_a_metric_that_is_left_out_is_named_once_in_the_log(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    Counter("edit_request", "Its own.", registry=registry).inc()
    app = by_route(registry)
    with watch(app=app, namespace="edit", model_endpoints=["none"]):
        ask(app, "/other")
        page(app)
        text = page(app).text
    assert text.count("# TYPE edit_request_total") == 1
    (record,) = [each for each in caplog.records if each.name == "safelight.metrics.page"]
    assert "edit_request_total is shown instead" in record.getMessage()
