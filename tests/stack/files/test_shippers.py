"""Alloy and Vector: their configuration names fields that every line of a request has."""

import re
from typing import Any

import yaml

from safelight.stack.files.elastic import DATA_STREAM
from safelight.stack.files.shippers import alloy_config, vector_yaml
from safelight.telemetry.fields import BY_NAME

ALLOY = alloy_config()
VECTOR: dict[str, Any] = yaml.safe_load(vector_yaml())


def assigned(stage: str) -> dict[str, str]:
    """Return what a stage of Alloy assigns."""
    [block] = re.findall(rf"stage\.{stage} {{\n.*?{{\n(.*?)\n    }}", ALLOY, flags=re.DOTALL)
    return dict(re.findall(r'(\w+) += "(.*)",', block))


def test_alloys_blocks_are_closed_and_lead_to_each_other() -> None:
    text = re.sub(r'"(?:\\.|[^"\\])*"', "", ALLOY)
    assert text.count("{") == text.count("}")
    named = {f"{kind}.{name}" for kind, name in re.findall(r'^([\w.]+) "(\w+)" {', ALLOY, re.M)}
    used = set(re.findall(r"\b((?:local|loki)\.\w+\.\w+)\.(?:targets|receiver)", ALLOY))
    assert named == {*used, "loki.source.file.safelight"}


def test_alloy_reads_fields_of_the_table() -> None:
    names = [text.replace('\\"', "") for text in assigned("json").values()]
    assert set(names) <= BY_NAME.keys()
    taken = {*assigned("labels"), *assigned("structured_metadata"), "time"}
    assert taken == set(assigned("json"))
    assert 'source = "time"' in ALLOY


def test_a_label_has_few_values() -> None:
    assert set(assigned("labels")) == {"service_name", "level", "outcome"}


def test_vectors_parts_lead_to_each_other() -> None:
    parts = {**VECTOR["sources"], **VECTOR["transforms"], **VECTOR["sinks"]}
    for part in parts.values():
        assert set(part.get("inputs", [])) <= parts.keys()
    stream = VECTOR["sinks"]["elasticsearch"]["data_stream"]
    assert "-".join(stream[name] for name in ("type", "dataset", "namespace")) == DATA_STREAM
    assert VECTOR["sinks"]["elasticsearch"]["bulk"] == {"action": "create"}


def test_vector_sends_a_line_as_it_is_and_marks_what_is_no_json() -> None:
    source = VECTOR["transforms"]["ecs"]["source"]
    assert ". = object!(parsed)" in source
    assert set(re.findall(r'"([@.\w]+)":', source)) == {"@timestamp", "message", "error", "type"}
