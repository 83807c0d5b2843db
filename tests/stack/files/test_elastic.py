"""The template takes every line of a real service, and rejects what has another type."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from safelight.namespace import MAX_LENGTH
from safelight.stack.files.elastic import (
    DATA_STREAM,
    FINGERPRINT_BYTES,
    TEMPLATE,
    filebeat_yml,
    index_template,
)
from safelight.telemetry.ecs import event_line, request_line
from safelight.telemetry.fields import BY_NAME, DATASET
from safelight.telemetry.log_events import EVENTS
from tests.asking import HTTP
from tests.stack.elastics import KEY, FakeElastic, Rejected, elastic, expanded
from tests.telemetry.lines import NASTY, ecs_types, lines_of_a_service, parsed
from tests.telemetry.making import CALL, RECORD, TRACE, changed

Line = dict[str, Any]
CONTENT: Line = json.loads(index_template())
FILEBEAT: Line = yaml.safe_load(filebeat_yml())
HEADERS = {"Authorization": f"ApiKey {KEY}"}


@pytest.fixture
def cluster() -> Iterator[FakeElastic]:
    with elastic() as fake:
        answer = HTTP.put(
            f"{fake.url}/_index_template/{TEMPLATE}", content=index_template(), headers=HEADERS
        )
        assert answer.json() == {"acknowledged": True}
        yield fake


def shipped(line: Line) -> Line:
    """Return what Filebeat sends for a line, by the exported configuration."""
    [added] = [each["add_fields"] for each in FILEBEAT["processors"]]
    return {
        **expanded(line),
        added["target"]: added["fields"],
        "agent": {"type": "filebeat", "version": "9.5.0", "ephemeral_id": "x"},
        "input": {"type": "filestream"},
        "log": {**expanded(line).get("log", {}), "offset": 0, "file": {"path": "/logs/x.log"}},
    }


def send(fake: FakeElastic, lines: list[Line]) -> list[str]:
    """Send lines as a bulk request, and return why some were rejected."""
    index = FILEBEAT["output.elasticsearch"]["index"]
    rows = [row for line in lines for row in ({"create": {"_index": index}}, shipped(line))]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    answer: httpx.Response = HTTP.post(f"{fake.url}/_bulk", content=body, headers=HEADERS)
    items = answer.json()["items"]
    return [each["create"]["error"]["reason"] for each in items if "error" in each["create"]]


def a_line(**more: Any) -> Line:
    return {"@timestamp": "2026-12-01T12:00:00.250Z", **more}


# ── Lines ────────────────────────────────────────────────────────────────────────────────────────


def test_every_line_of_a_real_service_is_stored(
    cluster: FakeElastic, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = parsed(lines_of_a_service(tmp_path_factory.mktemp("service")))
    assert send(cluster, lines) == []
    assert len(cluster.documents) == len(lines) > 10


def test_every_example_of_the_table_is_stored(cluster: FakeElastic) -> None:
    assert send(cluster, [a_line(**{f.name: f.example for f in BY_NAME.values()})]) == []


def test_lines_with_values_of_an_attacker_are_stored(cluster: FakeElastic) -> None:
    facts = {"id": NASTY, "key": "x" * 100_000, "trace_id": TRACE, "calls": (CALL,)}
    line = json.loads(
        request_line("info", changed(RECORD, endpoint=NASTY, error=NASTY, **facts), {})
    )
    assert send(cluster, [line]) == []


def test_fields_of_other_code_are_stored_as_labels(cluster: FakeElastic) -> None:
    assert send(cluster, [a_line(labels={"shard": "3", "other": "x" * 100_000})]) == []


def test_a_line_that_is_no_json_is_stored_as_filebeat_marks_it(cluster: FakeElastic) -> None:
    error = {"error": {"type": "json", "message": "Error decoding JSON: invalid character"}}
    assert send(cluster, [a_line(message="Killed", **error)]) == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"error": "plain"}, "tried to parse field as object"),
        ({"event.duration": "two seconds"}, "of type [long]"),
        ({"event.duration": True}, "of type [long]"),
        ({"safelight": {"seed": 2**63}}, "of type [long]"),
        ({"safelight.model": "name"}, "tried to parse field as object"),
        ({"safelight.model.negative_prompt": 1}, "of type [boolean]"),
        ({"@timestamp": "yesterday"}, "of type [date]"),
        ({"event.action": {"name": "x"}}, "of type [keyword]"),
        ({"safelight.model.defaults": 3}, "of type [flattened]"),
    ],
)
def test_a_wrong_type_is_rejected(cluster: FakeElastic, wrong: Line, reason: str) -> None:
    [found] = send(cluster, [a_line() | wrong])
    assert reason in found
    assert cluster.documents == []


def test_without_the_template_and_without_a_time_nothing_is_stored(cluster: FakeElastic) -> None:
    assert "@timestamp" in send(cluster, [{"message": "x"}])[0]
    cluster.templates.clear()
    assert "no matching index template" in send(cluster, [a_line()])[0]


# ── The template ─────────────────────────────────────────────────────────────────────────────────


def mapped(properties: Line, prefix: str = "") -> Iterator[tuple[str, Line]]:
    for name, mapping in properties.items():
        if "properties" in mapping:
            yield from mapped(mapping["properties"], f"{prefix}{name}.")
        else:
            yield prefix + name, mapping


MAPPED = dict(mapped(CONTENT["template"]["mappings"]["properties"]))


def test_every_field_of_the_table_is_mapped_with_its_type() -> None:
    assert {name: MAPPED[name]["type"] for name in BY_NAME} == {
        name: field.type for name, field in BY_NAME.items()
    }


@pytest.mark.parametrize("name", [name for name in MAPPED if name not in BY_NAME])
def test_what_shippers_add_has_the_types_of_ecs(name: str) -> None:
    if name != "log.offset":  # of Filebeat alone
        assert MAPPED[name]["type"] == ecs_types()[name][0]


def test_the_template_is_of_the_data_stream_that_filebeat_writes_to() -> None:
    kind, dataset, namespace = FILEBEAT["output.elasticsearch"]["index"].split("-")
    assert (kind, dataset, namespace) == ("logs", DATASET, "default")
    assert CONTENT["index_patterns"] == [f"{kind}-{dataset}-*"]
    assert CONTENT["data_stream"] == {}
    assert CONTENT["priority"] > 200  # above the templates that Elasticsearch has
    added = FILEBEAT["processors"][0]["add_fields"]["fields"]
    assert "-".join(added.values()) == DATA_STREAM


def test_a_misspelt_type_or_parameter_is_caught(cluster: FakeElastic) -> None:
    for right, wrong in (('"wildcard"', '"wild"'), ("ignore_above", "ignore_over")):
        text = index_template().replace(right, wrong)
        url = f"{cluster.url}/_index_template/x"
        assert HTTP.put(url, content=text, headers=HEADERS).status_code == 400
    with pytest.raises(Rejected):
        expanded({"error": "plain", "error.type": "x"})


# ── Filebeat ─────────────────────────────────────────────────────────────────────────────────────


def test_filebeat_reads_short_files_and_containers() -> None:
    files, containers = FILEBEAT["filebeat.inputs"]
    for each in (files, containers):
        assert each["type"] == "filestream"
        assert each["prospector.scanner.fingerprint"] == {
            "enabled": True,
            "length": FINGERPRINT_BYTES,
        }
    assert files["id"] != containers["id"]
    assert [next(iter(parser)) for parser in files["parsers"]] == ["ndjson"]
    assert [next(iter(parser)) for parser in containers["parsers"]] == ["container", "ndjson"]
    assert (files["enabled"], containers["enabled"]) == (
        "${SAFELIGHT_FILES:true}",
        "${SAFELIGHT_CONTAINERS:false}",
    )


def first_lines(name: str, pid: int) -> Iterator[str]:
    """Yield lines with which a file of a service may begin."""
    service: Line = {"service": {"name": name, "version": "0.1.0"}, "process": {"pid": pid}}
    yield request_line("info", RECORD, service)
    for message in (event.message for event in EVENTS):
        yield event_line("info", {"event": message, "logger": "safelight"}, service)
    yield event_line("info", {"event": "x" * 200, "logger": "library" * 20}, service)


def test_filebeat_tells_files_apart_that_begin_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("safelight.telemetry.ecs.time_ns", lambda: 1_764_594_000_123_000_000)
    same = "x" * (MAX_LENGTH - 1)
    services = ((f"{same}a", 7), (f"{same}b", 7), (f"{same}a", 8))
    for lines in zip(*(first_lines(*each) for each in services), strict=True):
        assert len({line.encode()[:FINGERPRINT_BYTES] for line in lines}) == 3


def test_filebeat_reads_a_file_with_one_line() -> None:
    for line in first_lines("sd", 7):
        assert len(line.encode()) >= FINGERPRINT_BYTES


def test_filebeat_takes_the_fields_of_a_line_as_they_are() -> None:
    ndjson = FILEBEAT["filebeat.inputs"][0]["parsers"][0]["ndjson"]
    assert ndjson == {
        "target": "",
        "overwrite_keys": True,
        "expand_keys": True,
        "add_error_key": True,
    }
    assert FILEBEAT["setup.template.enabled"] is FILEBEAT["setup.ilm.enabled"] is False
