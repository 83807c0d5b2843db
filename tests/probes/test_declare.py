"""Errors that are answered with status 200 can be declared (W2, W9)."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from flask import Flask

from safelight import Response, fail, inference, note, watch
from safelight.metrics.catalog import HTTP_REQUESTS, PROBE_FAILURES, REQUESTS, SUCCESSES
from safelight.probes.declare import BODY_LIMIT_BYTES, judged
from safelight.reasons import REASONS
from tests.probes.web import ask
from tests.reading import series, value

Route = Callable[[], Any]


def asked(route: Route, **options: Any) -> Any:
    """Send one request to a watched route of FastAPI, and return the watch."""
    app = FastAPI()
    app.post("/edit")(route)
    with watch(app=app, model_endpoints=["/edit"], **options) as watched:
        ask(app, "/edit", "POST")
    return watched


def asked_flask(route: Route, **options: Any) -> Any:
    app = Flask("service")
    app.post("/edit")(route)
    with (
        watch(app=app, model_endpoints=["/edit"], **options) as watched,
        app.test_client().post("/edit") as response,
    ):
        response.get_data()
    return watched


def the_articles_error() -> Any:
    """Answer as the article's FastAPI program does: status 200, and 500 in the body."""
    return {"error": "CUDA out of memory"}, 500


def declared() -> dict[str, str]:
    fail("cuda_oom")
    return {"error": "out of memory"}


@pytest.mark.parametrize("send", [asked, asked_flask])
def test_w2_a_declared_failure_counts_with_its_reason_and_status(send: Any) -> None:
    watched = send(declared)
    assert series(watched, REQUESTS) == [
        {"endpoint": "/edit", "status_code": "503", "instruction_type": "none", "error": "cuda_oom"}
    ]
    assert value(watched, HTTP_REQUESTS, status="503") == 1
    assert value(watched, SUCCESSES) == 0


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_can_be_declared(reason: str) -> None:
    watched = asked(lambda: fail(reason))
    assert value(watched, REQUESTS, error=reason) == 1


def test_w2_a_function_can_judge_the_body_of_the_response() -> None:
    def broken(response: Response) -> bool:
        body = response.json()
        return isinstance(body, list) and body[1] >= 500

    watched = asked(the_articles_error, failed=broken)
    assert value(watched, HTTP_REQUESTS, status="500") == 1
    assert value(watched, REQUESTS, error="internal_error", status_code="500") == 1
    assert value(asked(lambda: ["fine", 200], failed=broken), HTTP_REQUESTS, status="200") == 1


def test_a_function_sees_status_and_headers() -> None:
    seen: list[Response] = []

    def route() -> JSONResponse:
        return JSONResponse({}, 202, headers={"X-Result": "bad"})

    def failed(response: Response) -> str:
        seen.append(response)
        return "timeout"

    watched = asked(route, failed=failed)
    assert (seen[0].status, seen[0].headers["x-result"]) == (202, "bad")
    assert value(watched, HTTP_REQUESTS, status="504") == 1


@pytest.mark.parametrize("send", [asked, asked_flask])
def test_a_long_body_is_not_kept(send: Any) -> None:
    bodies: list[bytes | None] = []
    text = "x" * (BODY_LIMIT_BYTES + 1)
    send(lambda: text, failed=lambda response: bodies.append(response.body))
    send(lambda: "short", failed=lambda response: bodies.append(response.body))
    assert bodies[0] is None
    assert bodies[1] in (b'"short"', b"short")


def test_a_stream_is_judged_at_its_end() -> None:
    def route() -> StreamingResponse:
        return StreamingResponse(iter(["one ", "error"]))

    watched = asked(route, failed=lambda response: b"error" in (response.body or b""))
    assert value(watched, HTTP_REQUESTS, status="500") == 1


def test_a_function_that_fails_does_not_fail_the_request() -> None:
    def failed(response: Response) -> bool:
        raise KeyError("no")

    watched = asked(lambda: "fine", failed=failed)
    assert value(watched, PROBE_FAILURES, probe="asgi") == 1


def test_a_real_error_status_stays() -> None:
    def route() -> JSONResponse:
        fail("model_error")
        return JSONResponse({}, 429)

    assert value(asked(route), HTTP_REQUESTS, status="429") == 1


def test_fail_outside_a_request_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="needs a running request"):
        fail("model_error")
    with pytest.raises(ValueError, match="needs a running request"):
        note(instruction_type="make_him_old")


@pytest.mark.parametrize("reason", ["", "broken", "none", 500])
def test_an_unknown_reason_is_refused_with_the_known_ones(reason: Any) -> None:
    with pytest.raises(ValueError, match="cuda_oom"):
        fail(reason)
    with pytest.raises(ValueError, match="cuda_oom"):
        judged(lambda response: reason or "x", Response(200))


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("make_him_old", "make_him_old"),
        ("Make him OLD", "other"),
        ("x" * 41, "other"),
        (7, "other"),
    ],
)
def test_w9_the_application_can_name_the_instruction_type(given: Any, counted: str) -> None:
    def route() -> None:
        note(instruction_type=given)
        with inference("m"):
            pass

    assert value(asked(route), REQUESTS, instruction_type=counted) == 1


def test_a_judged_failure_keeps_the_reason_of_its_model_call() -> None:
    def route() -> Any:
        try:
            with inference("m"):
                raise MemoryError
        except MemoryError:
            return the_articles_error()

    watched = asked(route, failed=lambda response: "error" in str(response.json()))
    assert value(watched, REQUESTS, error="host_oom", status_code="503") == 1


@pytest.mark.parametrize("send", [asked, asked_flask])
@pytest.mark.parametrize("verdict", ["typo", 1, [1], KeyError("no")])
def test_a_judge_that_fails_loses_no_request(send: Any, verdict: Any) -> None:
    def failed(response: Response) -> Any:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    watched = send(lambda: "fine", failed=failed)
    assert value(watched, HTTP_REQUESTS, handler="/edit", status="200") == 1
    assert value(watched, REQUESTS, endpoint="/edit", error="none") == 1


@pytest.mark.parametrize("reason", [[], None, {}])
def test_a_reason_of_another_type_is_refused(reason: Any) -> None:
    with pytest.raises(ValueError, match="cuda_oom"):
        fail(reason)


def test_fail_after_the_response_is_refused_and_changes_nothing() -> None:
    errors: list[Exception] = []

    def late() -> None:
        try:
            fail("model_error")
        except ValueError as error:
            errors.append(error)

    def route(tasks: BackgroundTasks) -> None:
        tasks.add_task(late)

    app = FastAPI()
    app.post("/edit")(route)
    with watch(app=app) as watched:
        ask(app, "/edit", "POST")
    assert len(errors) == 1
    assert value(watched, HTTP_REQUESTS, status="200") == 1


def test_w2_a_declared_reason_is_counted_without_a_model() -> None:
    app = FastAPI()
    app.post("/edit")(lambda: fail("overloaded"))
    with watch(app=app) as watched:
        ask(app, "/edit", "POST")
    assert value(watched, REQUESTS, endpoint="/edit", error="overloaded") == 1
