import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import timeit
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from safelight.metrics.catalog import LOG_LINES_LOST
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.telemetry import logs
from safelight.telemetry.flood import PER_SECOND, Flood
from safelight.telemetry.log_events import LEFT_OUT, LOST
from safelight.telemetry.logs import (
    LogFormat,
    configure_logging,
    lines_lost,
    log_environment,
    log_sink,
)
from safelight.telemetry.meter import metrics_sink
from safelight.telemetry.record import Facts, PipelineCall, Record
from safelight.telemetry.request_line import as_fields
from tests.asking import HTTP
from tests.cli.running import started
from tests.reading import OPENMETRICS, FakeClock
from tests.serving.conftest import serving
from tests.serving.running import PAINTER
from tests.stack.waiting import eventually, free_ports
from tests.telemetry.lines import NASTY, flat
from tests.telemetry.making import CALL, RECORD, TRACE, changed


def written(capsys: pytest.CaptureFixture[str], record: Record) -> dict[str, Any]:
    configure_logging("json")
    log_sink()(record)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    line: dict[str, Any] = json.loads(lines[0])
    return line


class Output:
    """Takes lines, after it has called a function."""

    is_terminal = False

    def __init__(self, before: Callable[[], object] = int) -> None:
        self._before = before
        self.lines: list[dict[str, Any]] = []

    def write(self, line: str) -> None:
        self._before()
        self.lines.append(flat(json.loads(line)))


def write_to(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("json")
    monkeypatch.setattr(logs._LINES, "output", output)


def test_a_request_is_one_line_under_ecs_names(capsys: pytest.CaptureFixture[str]) -> None:
    line = flat(written(capsys, changed(RECORD, trace_id=TRACE)))
    assert line["http.request.id"] == "one"
    assert line["http.response.status_code"] == 200
    assert line["url.path"] == "/edit"
    assert line["event.duration"] == 2_000_000_000
    assert line["event.outcome"] == "success"
    assert line["trace.id"] == TRACE
    assert line["log.level"] == "info"
    assert {"@timestamp", "ecs.version", "message"} <= set(line)


def test_a_failure_is_a_warning_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    line = flat(written(capsys, changed(RECORD, status_code=503, error="cuda_oom")))
    assert (line["log.level"], line["event.outcome"]) == ("warning", "failure")
    assert line["error.type"] == "cuda_oom"


def test_p14_the_background_entropy_is_logged_if_it_is_known() -> None:
    fields = as_fields(changed(RECORD, background_entropy=7.123))
    assert fields["safelight.background_entropy"] == 7.12
    assert "safelight.background_entropy" not in as_fields(RECORD)


def test_a_success_has_no_error_field() -> None:
    assert "error.type" not in as_fields(RECORD)


def test_a_request_without_a_trace_has_no_trace_field() -> None:
    assert "trace.id" not in as_fields(RECORD)


def test_the_id_that_the_caller_sent_is_in_the_line_beside_the_servers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = flat(written(capsys, changed(RECORD, key="ab" * 16)))
    assert (line["http.request.id"], line["safelight.caller_request_id"]) == ("one", "ab" * 16)
    assert "safelight.caller_request_id" not in as_fields(RECORD)


def test_p17_the_effective_parameters_are_in_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    call = replace(CALL, image_guidance_asked=0.8, image_guidance_in_force=1.0)
    line = flat(written(capsys, changed(RECORD, calls=(call,))))
    assert line["safelight.model.image_guidance_asked"] == 0.8
    assert line["safelight.model.image_guidance_in_force"] == 1.0
    assert line["safelight.model.guidance_asked"] == 7.5
    assert line["safelight.model.steps_asked"] == 12
    assert line["safelight.model.steps"] == 12
    assert line["safelight.model.negative_prompt"] is False
    assert line["safelight.model.images"] == ["1024x768"]
    assert line["safelight.stages_ns.queue"] == 300_000_000


def test_a_request_without_a_call_has_no_model_fields() -> None:
    assert "safelight.model" not in as_fields(changed(RECORD, calls=()))


def test_prompt_and_owner_are_in_no_log_line_metric_or_repr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = changed(RECORD, prompt="secret-words", owner="secret-name")
    meter = Meter("tests")
    metrics_sink(meter)(record)
    output = f"{written(capsys, record)} {record!r} {meter.expose(OPENMETRICS).body.decode()}"
    assert "secret" not in output
    assert RECORD.endpoint in output


def test_a_record_has_no_other_text_fields() -> None:
    texts = {
        f"{kind.__name__}.{field.name}"
        for kind in (Record, Facts, PipelineCall)
        for field in fields(kind)
        if "str" in str(field.type)
    }
    assert texts == {
        "Record.endpoint",
        "Record.error",
        "Record.kept",
        "Record.method",
        "Record.parts",
        "Record.span_id",
        "Record.stages",
        "Record.trace_id",
        "Facts.id",
        "Facts.key",
        "Facts.instruction_type",
        "Facts.prompt",
        "Facts.owner",
        "Facts.priority",
        "Facts.degraded",
        "Facts.retries",
        "PipelineCall.batch_id",
        "PipelineCall.device",
        "PipelineCall.encoder_seconds",
        "PipelineCall.model",
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
    configure_logging("auto")
    log_sink()(RECORD)
    output = capsys.readouterr().err
    assert "request" in output
    assert not output.startswith("{")


def test_without_a_terminal_the_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("auto")
    log_sink()(RECORD)
    assert json.loads(capsys.readouterr().err)["message"] == "request"


# ── Lines of libraries, warnings and failures ────────────────────────────────────────────────────

NOISE = """
from safelight.telemetry.logs import configure_logging, log, route_library_loggers
from safelight.settings import load
configure_logging({format!r}, load())
from tests.telemetry.noisy import make_noise
make_noise()
route_library_loggers()
import logging
logging.getLogger("own_handler").error("own handler")
log.error("own failure", exc_info=ValueError("x"), error="plain")
raise OSError("the end")
"""


def noise(log_format: str, private: str = "true") -> str:
    done = subprocess.run(
        [sys.executable, "-c", NOISE.format(format=log_format)],
        capture_output=True,
        text=True,
        env={**os.environ, "SAFELIGHT_LOG_PRIVATE": private},
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_every_line_of_a_process_is_json_with_ecs_fields() -> None:
    lines = [json.loads(line) for line in noise("json").splitlines()]
    assert all({"@timestamp", "log.level", "log.logger", "message"} <= set(line) for line in lines)
    by_message = {line["message"]: line for line in lines}
    assert "not shown" not in by_message
    assert by_message["library line"]["log.logger"] == "library"
    assert by_message["own handler"]["log.level"] == "error"
    assert [line["log.logger"] for line in lines if "a warning" in line["message"]] == [
        "py.warnings"
    ]
    errors = {
        "library failure": ("RuntimeError", "two\nlines", "error"),
        "The nvml probe failed; the request continues.": ("ValueError", "guard failure", "error"),
        "uncaught exception in a thread": ("RuntimeError", "two\nlines", "critical"),
        "exception ignored": ("KeyError", "'finalizer'", "error"),
        "uncaught exception": ("OSError", "the end", "critical"),
        "own failure": ("ValueError", "x", "error"),
    }
    for message, (kind, text, level) in errors.items():
        line = by_message[message]
        assert line["log.level"] == level, message
        error = line["error"]
        assert (error["type"], error["message"]) == (kind, text), message
        assert error["stack_trace"].endswith(f"{kind}: {text}\n"), message
    assert by_message["uncaught exception in a thread"]["process"]["thread"]["name"] == "noisy"
    assert by_message["own failure"]["labels"] == {"error": "plain"}


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_messages_of_exceptions_are_not_logged_unless_allowed(log_format: str) -> None:
    text = noise(log_format, private="false")
    assert all(kind in text for kind in ("RuntimeError", "ValueError", "KeyError", "OSError"))
    assert "in _fail" in text  # where it was raised
    for message in ("two", "guard failure", "finalizer'", "the end"):
        assert not re.search(rf"Error:? .*{message}", text), message


def test_in_text_format_a_traceback_is_readable() -> None:
    text = noise("text")
    assert "library line" in text
    assert "\n  Traceback (most recent call last):\n" in text
    assert "\n  OSError: the end" in text
    assert '{"' not in text


def test_the_fast_path_of_the_request_line_has_the_same_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fast = written(capsys, RECORD)
    structlog.get_logger("safelight").info("request", **as_fields(RECORD))
    slow = json.loads(capsys.readouterr().err)
    assert {**fast, "@timestamp": ""} == {**slow, "@timestamp": ""}


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_wrong_log_call_is_counted_as_lost(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    before = lines_lost()
    logging.getLogger("library").error("wrong %d", "text")
    logging.getLogger("library").error(Unprintable())
    assert (lines_lost() - before, capsys.readouterr().err) == (2, "")


def test_equal_lines_are_thinned_and_their_number_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging("json")
    clock = FakeClock()
    monkeypatch.setattr(logs._LINES, "flood", Flood(clock))
    for number in range(100):
        logging.getLogger("library").error("in a 'loop' %d", number)
    clock.now += 1
    structlog.get_logger("safelight").warning("worker lost")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == PER_SECOND + 2
    told = flat(lines[-2])
    assert (told["event.action"], told["safelight.lines"]) == ("lines-left-out", 80)
    assert told["safelight.line"] == "in a [hidden] %d"
    assert lines[-1]["message"] == "worker lost"


def flooded(kinds: int, monkeypatch: pytest.MonkeyPatch) -> Output:
    """Return an output, a second after lines of so many kinds were left out."""
    output, clock = Output(), FakeClock()
    write_to(output, monkeypatch)
    monkeypatch.setattr(logs._LINES, "flood", Flood(clock))
    for message in [f"kind {number}" for number in range(kinds)]:
        for _ in range(PER_SECOND + 3):
            logging.getLogger("library").error(message)
    clock.now += 1
    return output


def test_each_of_many_kinds_that_were_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    output = flooded(2 * PER_SECOND, monkeypatch)
    structlog.get_logger("safelight").warning("worker lost")
    told = [line for line in output.lines if line["message"] == LEFT_OUT]
    assert {line["safelight.line"]: line["safelight.lines"] for line in told} == {
        f"kind {number}": 3 for number in range(2 * PER_SECOND)
    }


def test_the_line_of_a_request_tells_what_was_left_out_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = flooded(1, monkeypatch)
    log_sink()(RECORD)
    log_sink()(RECORD)
    messages = [line["message"] for line in output.lines[PER_SECOND:]]
    assert messages == [LEFT_OUT, "request", "request"]


def test_if_the_line_that_tells_of_lost_ones_is_lost_the_next_one_tells_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = [True, True, False, True, False]  # two requests; one is written, what it tells is not

    def take() -> None:
        if full and full.pop(0):
            raise OSError("full")

    output = Output(take)
    write_to(output, monkeypatch)
    for _ in range(5):
        log_sink()(RECORD)
    assert [line["message"] for line in output.lines] == ["request", "request", LOST, "request"]
    assert [line["safelight.lines"] for line in output.lines if line["message"] == LOST] == [3]


def test_every_line_that_was_lost_is_told_on_a_disk_that_is_often_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = [True, False, False] * 100

    def take() -> None:
        if full and full.pop(0):
            raise OSError("full")

    output = Output(take)
    write_to(output, monkeypatch)
    monkeypatch.setattr(logs._LINES, "flood", Flood(FakeClock()))
    for _ in range(200):
        log_sink()(RECORD)
    told = [line["safelight.lines"] for line in output.lines if line["message"] == LOST]
    assert sum(told) == lines_lost() == 100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
def test_after_a_full_disk_a_line_tells_how_many_were_lost(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.symlink_to("/dev/full")
    configure_logging("json", load(log_output=str(place)))
    for _ in range(3):
        log_sink()(RECORD)
    place.unlink()
    configure_logging("json", load(log_output=str(place)))
    log_sink()(RECORD)
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    assert [line["event"]["action"] for line in lines] == ["request", "lines-lost"]
    assert (lines[1]["safelight"]["lines"], lines_lost()) == (3, 3)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_lines_of_requests_are_never_thinned(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format)
    write = log_sink()
    for _ in range(100):
        write(RECORD)
    assert len(capsys.readouterr().err.splitlines()) == 100


@pytest.mark.parametrize("logger", ["library", "safelightly"])
def test_a_library_that_logs_the_message_of_an_event_is_not_that_event(
    logger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output()
    write_to(output, monkeypatch)
    for message in ("request", "worker lost"):
        logging.getLogger(logger).error(message)
    assert [line["message"] for line in output.lines] == ["request", "worker lost"]
    assert not any("event.action" in line for line in output.lines)


def test_equal_lines_of_a_library_are_thinned_whatever_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Output()
    write_to(output, monkeypatch)
    monkeypatch.setattr(logs._LINES, "flood", Flood(FakeClock()))
    for _ in range(100):
        logging.getLogger("library").error("request")
    assert len(output.lines) == PER_SECOND


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("logger", ["library", "safelight"])
def test_a_message_that_is_no_text_is_logged_as_its_text(
    logger: str, log_format: LogFormat, private: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format, load(log_private=private))
    before = lines_lost()
    for log in (structlog.get_logger(logger), logging.getLogger(logger)):
        log.error({7: 8})
        log.error([9])
    structlog.get_logger(logger).error(None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    for number, text in enumerate(("{7: 8}", "[9]", "{7: 8}", "[9]")):
        assert text in lines[number]
    assert lines_lost() == before


def test_what_was_left_out_at_last_is_told_at_the_end() -> None:
    script = """
from safelight.telemetry.logs import configure_logging, log
configure_logging("json")
for number in range(50):
    log.warning("worker lost")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = [line["safelight"]["lines"] for line in lines if "lines" in line.get("safelight", {})]
    assert sum(told) == 50 - sum(line["message"] == "worker lost" for line in lines) > 0


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_value_forges_a_line(log_format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format)
    logging.getLogger("library").error("%s", NASTY)
    structlog.get_logger("safelight").warning(NASTY, **{"safelight.reason": NASTY, NASTY: NASTY})
    log_sink()(changed(RECORD, endpoint=NASTY, id=NASTY, key=NASTY, error=NASTY))
    output = capsys.readouterr().err
    assert len(output.splitlines()) == 3
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", output)
    if log_format == "json":
        assert json.loads(output.splitlines()[2])["url"]["path"] == NASTY


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_exception_forges_a_line(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(log_format, load(log_private=True))
    error = ValueError(f"{NASTY}\n12:00:00 [info     ] request")
    structlog.get_logger("safelight").warning("worker lost", exc_info=error)
    output = capsys.readouterr().err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", output)
    first, *trace = output.splitlines()
    assert "worker lost" in first
    assert all(line.startswith("  ") for line in trace)


def test_half_a_character_and_a_huge_number_lose_no_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("json")
    before = lines_lost()
    structlog.get_logger("safelight").warning("half \ud800", **{"safelight.worker": 2**70})
    line = json.loads(capsys.readouterr().err)
    assert (line["message"], line["safelight"]["worker"]) == ("half ?", 2**70)
    assert lines_lost() == before


def test_lines_of_requests_and_others_take_one_lock_so_no_two_threads_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, free = logs._LINES.lock, list[bool]()
    assert lock is not None

    def ask() -> None:
        free.append(lock.acquire(blocking=False))
        if free[-1]:
            lock.release()

    def look() -> None:
        other = threading.Thread(target=ask)
        other.start()
        other.join()

    write_to(Output(look), monkeypatch)
    log_sink()(RECORD)
    structlog.get_logger("safelight").warning("worker lost")
    assert free == [False, False]


def test_a_finalizer_logs_while_its_thread_writes_the_line_of_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, todo = structlog.get_logger("safelight"), ["worker lost"]
    output = Output(lambda: todo and log.warning(todo.pop()))
    write_to(output, monkeypatch)
    log_sink()(RECORD)
    assert [line["message"] for line in output.lines] == ["worker lost", "request"]


@pytest.mark.usefixtures("capsys")
def test_a_line_costs_less_than_25_microseconds() -> None:
    configure_logging("json")
    write, number = log_sink(), 2000
    best = min(timeit.repeat(lambda: write(RECORD), number=number, repeat=5)) / number
    assert best < 25e-6


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_child_process_gets_the_format(log_format: LogFormat) -> None:
    assert log_environment() == {}
    configure_logging(log_format)
    variables = log_environment()
    assert variables["SAFELIGHT_LOG_FORMAT"] == log_format
    assert variables["SAFELIGHT_NAMESPACE"] == "instructpix2pix"
    assert variables["SAFELIGHT_LOG_PRIVATE"] == "False"


def test_every_line_of_a_service_and_its_worker_is_json(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    options = ("--port", url.rpartition(":")[2], "--log-format", "json")
    with started(tmp_path, "serve", "tests.telemetry.noisy:load_noisy", *options) as command:
        command.wait_for_output("uncaught exception in a thread")
        eventually(lambda: _is_ready(url), within=60, what="the model is loaded")
        assert command.send(signal.SIGTERM) == 0
    messages = {json.loads(line)["message"] for line in command.err.splitlines()}
    assert {"listening", "library failure", "exception ignored"} <= messages


def test_a_service_and_its_worker_write_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "safelight.log"
    file.parent.mkdir()
    with serving(tmp_path, "tests.telemetry.noisy:load_noisy", log_output=str(file), log_files="2"):
        pass
    assert (tmp_path / "log").read_text() == ""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"listening", "library failure", "model loaded"} <= {line["message"] for line in lines}
    assert len({line["process"]["pid"] for line in lines}) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
def test_a_full_disk_for_the_log_file_fails_no_request(tmp_path: Path) -> None:
    with serving(tmp_path, PAINTER, log_output="/dev/full", structure_floor="0") as service:
        assert [service.edit().status_code for _ in range(5)] == [200] * 5
        assert service.value(LOG_LINES_LOST.name) >= 6


def _is_ready(url: str) -> bool:
    try:
        return HTTP.get(f"{url}/readyz").is_success
    except httpx.HTTPError:
        return False
