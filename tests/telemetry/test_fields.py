"""Every field of every log line is in the table, and every field of ECS is in ECS' list."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import safelight
from safelight.telemetry.fields import BY_NAME, ECS_VERSION, FIELDS, OWN, Field, is_known
from safelight.telemetry.log_events import BY_MESSAGE, EVENTS, LEFT_OUT, LOST, REQUEST, Event
from safelight.telemetry.request_line import as_fields
from tests.telemetry.lines import (
    KEY,
    SECRET,
    complaints,
    ecs_types,
    flat,
    lines_of_a_service,
    parsed,
)
from tests.telemetry.making import CALL, RECORD, TRACE, changed

SOURCE = Path(safelight.__file__).parent
EXPORTED = SOURCE / "stack" / "files"  # they write files, no log lines
FILES = [
    file
    for file in sorted(SOURCE.rglob("*.py"))
    if "log." in file.read_text() and not file.is_relative_to(EXPORTED)
]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
CATEGORIES = {  # of ECS, with the types that it expects of each
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "web": {"access", "error", "info"},
}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return parsed(lines_of_a_service(tmp_path_factory.mktemp("service")))


def calls(file: Path) -> Iterator[ast.Call]:
    """Yield the calls that write a log line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and ast.unparse(node.func.value) == "log"
        ):
            yield node


def written(file: Path) -> set[str]:
    """Return the dotted names that a file uses as keys."""
    keys = [
        key.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    ]
    firsts = {name.partition(".")[0] for name in BY_NAME if "." in name}
    return {key for key in keys if "." in key and key.partition(".")[0] in firsts}


NAMES = {name for file in FILES for name in written(file)}


# ── The table ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("field", BY_NAME.values(), ids=lambda field: field.name)
def test_a_field_is_safelights_own_or_has_the_type_of_ecs(field: Field) -> None:
    if field.name.startswith(OWN):
        return
    kind, normalization = ecs_types()[field.name]
    assert (field.type, field.listed) == (kind, normalization == "array")


@pytest.mark.parametrize("field", BY_NAME.values(), ids=lambda field: field.name)
def test_the_example_of_a_field_fits_its_type(field: Field) -> None:
    assert complaints({field.name: field.example}) == []
    assert field.meaning.endswith(".")


def test_the_example_of_a_callers_id_is_one_that_is_kept() -> None:
    example = BY_NAME["safelight.caller_request_id"].example
    assert UUID(str(example)).hex == example


def test_no_field_is_there_twice_or_above_another() -> None:
    names = [field.name for fields in FIELDS.values() for field in fields]
    assert len(names) == len(set(names))
    assert not [(a, b) for a in names for b in names if b.startswith(f"{a}.")]


def test_a_wrong_type_is_found() -> None:
    assert complaints({"event": {"duration": 1.5}, "process.pid": True}) == [
        "event.duration=1.5",
        "process.pid=True",
    ]
    assert complaints({"event": {"type": "info"}, "http.status": 1}) == [
        "event.type='info'",
        "http.status=1",
    ]


# ── What the source writes ───────────────────────────────────────────────────────────────────────


def test_every_name_in_the_source_is_in_the_table() -> None:
    assert {name for name in NAMES if not is_known(name)} == set()
    assert len(NAMES) > 20


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_every_message_in_the_source_is_an_event(file: Path) -> None:
    own = 'get_logger("safelight")' in file.read_text()
    for call in calls(file):
        message = call.args[0]
        if own and isinstance(message, ast.Constant):
            assert message.value in BY_MESSAGE


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.message)
def test_every_event_happens_in_the_source_and_follows_ecs(event: Event) -> None:
    assert event.type in CATEGORIES[event.category]
    texts = [file.read_text() for file in SOURCE.rglob("*.py") if file.name != "log_events.py"]
    named = event.message in (REQUEST, LEFT_OUT, LOST)  # by a constant
    assert named or any(f'"{event.message}"' in text for text in texts)
    assert len(event.action) <= 30


# ── What a service writes ────────────────────────────────────────────────────────────────────────


def test_every_field_of_every_line_of_a_service_is_in_the_table(
    lines: list[dict[str, Any]],
) -> None:
    assert [wrong for line in lines for wrong in complaints(line)] == []
    actions = {flat(line).get("event.action") for line in lines}
    expected = {"request", "listening", "model-loaded", "worker-lost", "circuit-open"}
    assert expected <= actions


def test_every_line_of_a_service_says_what_it_is_of(lines: list[dict[str, Any]]) -> None:
    for line in map(flat, lines):
        assert (line["ecs.version"], line["event.dataset"]) == (ECS_VERSION, "safelight")
        assert line["service.name"] == "instructpix2pix"
        assert line["process.pid"] > 1


def test_no_line_of_a_service_has_a_prompt_a_path_or_a_header_of_a_caller(
    lines: list[dict[str, Any]],
) -> None:
    assert SECRET not in str(lines).lower()
    assert "forged" not in str(lines)
    assert [flat(line)["safelight.caller_request_id"] for line in lines if KEY in str(line)] == [
        KEY
    ]


def test_every_field_of_the_table_is_written_by_someone(lines: list[dict[str, Any]]) -> None:
    facts = {"seed": 1, "background_entropy": 7.0, "trace_id": TRACE, "key": "k"}
    record = changed(RECORD, calls=(CALL,), error="timeout", span_id=TRACE[:16], **facts)
    found = {*NAMES, *flat(as_fields(record)), *(name for line in lines for name in flat(line))}
    found |= {name for event in BY_MESSAGE.values() for name in event}
    # Other code names them, or no request has every stage.
    rest = {name for name in BY_NAME if not name.startswith("safelight.stages_ns.")} - found
    assert rest == {"labels"}
