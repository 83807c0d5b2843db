import json
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import structlog

from safelight.metrics.registry import Meter
from safelight.telemetry.logs import as_fields, configure, logging_sink
from safelight.telemetry.meter import metering
from safelight.telemetry.record import PipelineCall, Record
from tests.reading import OPENMETRICS
from tests.telemetry.test_meter import CALL, RECORD, TRACE


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def written(capsys: pytest.CaptureFixture[str], record: Record) -> dict[str, Any]:
    configure("json")
    logging_sink()(record)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    line: dict[str, Any] = json.loads(lines[0])
    return line


def flat(line: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, inner in line.items():
        if isinstance(inner, dict):
            found |= flat(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = inner
    return found


def test_a_request_is_one_line_under_ecs_names(capsys: pytest.CaptureFixture[str]) -> None:
    line = flat(written(capsys, replace(RECORD, trace_id=TRACE)))
    assert line["http.request.id"] == "one"
    assert line["http.response.status_code"] == 200
    assert line["url.path"] == "/edit"
    assert line["event.duration"] == 2_000_000_000
    assert line["event.outcome"] == "success"
    assert line["trace.id"] == TRACE
    assert line["log.level"] == "info"
    assert {"@timestamp", "ecs.version", "message"} <= set(line)


def test_a_failure_is_a_warning_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    line = flat(written(capsys, replace(RECORD, status_code=503, error="cuda_oom")))
    assert (line["log.level"], line["event.outcome"]) == ("warning", "failure")
    assert line["error.type"] == "cuda_oom"


def test_p14_the_entropy_of_the_background_is_told_where_it_is_known() -> None:
    told = as_fields(replace(RECORD, background_entropy=7.123))
    assert told["safelight.background_entropy"] == 7.12
    assert "safelight.background_entropy" not in as_fields(RECORD)


def test_a_success_has_no_error_field() -> None:
    assert "error.type" not in as_fields(RECORD)


def test_a_request_without_a_trace_has_no_trace_field() -> None:
    assert "trace.id" not in as_fields(RECORD)


def test_p17_what_changed_how_the_model_read_the_sentence_is_in_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = replace(CALL, image_guidance_asked=0.8, image_guidance_in_force=1.0)
    line = flat(written(capsys, replace(RECORD, calls=(call,))))
    assert line["safelight.model.image_guidance_asked"] == 0.8
    assert line["safelight.model.image_guidance_in_force"] == 1.0
    assert line["safelight.model.guidance_asked"] == 7.5
    assert line["safelight.model.steps_asked"] == 12
    assert line["safelight.model.steps"] == 12
    assert line["safelight.model.negative_prompt"] is False
    assert line["safelight.model.images"] == ["1024x768"]
    assert line["safelight.stages_ms.queue"] == 300.0


def test_a_request_that_reached_no_model_has_no_model_fields() -> None:
    assert "safelight.model" not in as_fields(replace(RECORD, calls=()))


def test_prompt_and_owner_are_the_stores_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """The only places for what users say or are: neither is shown, logged or made a label."""
    record = replace(RECORD, prompt="secret-words", owner="secret-name")
    meter = Meter("tests")
    metering(meter)(record)
    said = f"{written(capsys, record)} {record!r} {meter.expose(OPENMETRICS).body.decode()}"
    assert "secret" not in said
    assert RECORD.endpoint in said


def test_a_record_has_no_other_place_for_what_users_say() -> None:
    texts = {
        f"{kind.__name__}.{field.name}"
        for kind in (Record, PipelineCall)
        for field in fields(kind)
        if "str" in str(field.type)
    }
    assert texts == {
        "Record.id",
        "Record.endpoint",
        "Record.error",
        "Record.instruction_type",
        "Record.stages",
        "Record.trace_id",
        "Record.prompt",
        "Record.owner",
        "Record.degraded",
        "PipelineCall.pipeline",
        "PipelineCall.instruction_type",
        "PipelineCall.precision",
        "PipelineCall.phases",
        "PipelineCall.overridden",
        "PipelineCall.error",
    }


def test_on_a_terminal_the_line_is_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    configure("auto")
    logging_sink()(RECORD)
    said = capsys.readouterr().err
    assert "request" in said
    assert not said.startswith("{")


def test_elsewhere_the_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure("auto")
    logging_sink()(RECORD)
    assert json.loads(capsys.readouterr().err)["message"] == "request"
