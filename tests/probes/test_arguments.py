"""Wrong arguments of `watch` get one clear message that says what to do."""

from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from safelight import watch
from safelight.errors import BadSetting
from tests.pipelines import edit_pipeline

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "needs an app, a pipeline, or both"),
    ({"app": [FastAPI()]}, "app is a list"),
    ({"app": "main:app"}, "app is a str"),
    ({"app": FastAPI}, "app is the class FastAPI"),
    ({"app": lambda: None}, "async def __call__"),
    ({"pipeline": [1]}, "pipeline is a list"),
    ({"pipeline": print}, "safelight.inference"),
    ({"pipeline": object()}, "pipeline is a object"),
    ({"pipelines": {"base": None}}, r"pipelines\['base'\] is None"),
    ({"pipelines": [1]}, "Give a dict"),
    ({"pipeline": 1, "pipelines": {"a": 1}}, "not both"),
    ({"app": FastAPI(), "failed": "x"}, "failed is a str"),
    ({"app": FastAPI(), "on_record": 3}, "on_record is a int"),
    ({"app": FastAPI(), "model_endpoints": None}, "model_endpoints is None"),
    ({"app": FastAPI(), "model_endpoints": "/edit"}, "Give a list"),
    ({"app": FastAPI(), "model_endpoints": [1]}, "Give a list"),
    ({"app": FastAPI(), "metrics_path": "metrics"}, "Give a path"),
    ({"app": FastAPI(), "metrics_path": "/"}, "Give a path"),
    ({"app": FastAPI(), "metrics_path": None}, "Give a path"),
    ({"app": FastAPI(), "metrics_port": "9000"}, "Give a port"),
    ({"app": FastAPI(), "metrics_port": 99_999}, "Give a port"),
    ({"app": FastAPI(), "metrics_port": True}, "Give a port"),
    ({"app": FastAPI(), "records": "sqlite:///records.db"}, "SAFELIGHT_RECORDS_URL names the"),
    ({"app": FastAPI(), "namespace": "http"}, "is reserved"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[text for _, text in WRONG])
def test_a_wrong_argument_is_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting, match=message) as raised:
        watch(**arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("make", [FastAPI, lambda: Flask("service")], ids=["asgi", "wsgi"])
@pytest.mark.parametrize(
    "option",
    [
        {"failed": lambda response: True},
        {"metrics_path": "/other"},
        {"metrics_port": 9000},
        {"model_endpoints": ["/edit"]},
        {"records": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_a_second_watch_cannot_change_the_options_of_the_first(make: Any, option: Any) -> None:
    app, pipe = make(), edit_pipeline()
    with watch(app=app), pytest.raises(BadSetting, match=f"Give {next(iter(option))} to its first"):
        watch(app=app, pipeline=pipe, **option)


def test_a_slash_at_the_end_of_the_path_does_not_matter() -> None:
    from tests.probes.web import ask

    app = FastAPI()
    with watch(app=app, metrics_path="/m/"):
        assert "safelight_service_info" in ask(app, "/m").text
        assert "safelight_service_info" in ask(app, "/m/").text
