"""One id leads from a metric to the trace, the log line and the record: docs/tracing.md, run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from safelight.metrics.catalog import STAGES, TRACES
from safelight.metrics.registry import parse, where
from tests.stack.real import EDITOR, NAMESPACE, Real
from tests.stack.waiting import eventually
from tests.telemetry.received import roots, spans_of

PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def run(command: str, real: Real, bin_folder: Path) -> str:
    """Run commands of the page against a stack on other ports and in another folder."""
    state = real.state
    command = command.replace("http://127.0.0.1:9090", real.prometheus)
    command = command.replace(".state/", f"{state}/")
    (bin_folder / "safelight").write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n')
    (bin_folder / "safelight").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "SAFELIGHT_RECORDS_URL": f"sqlite:///{state}/records.db",
        "SAFELIGHT_TRACE_URL": "http://127.0.0.1:16686/trace/{trace_id}",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        ("bash", "-euo", "pipefail", "-c", command),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_page_follow_one_id(real: Real, tmp_path: Path) -> None:
    """Rows R5, Z12 and P17."""
    found, line, page = COMMANDS
    (request_id,) = run(found, real, tmp_path).split()
    eventually(lambda: request_id in roots(real.receiver), within=10, what="the trace arrives")
    root = roots(real.receiver)[request_id]
    said = run(f"ID={request_id}\n{line}", real, tmp_path)
    assert request_id in said
    shown = run(f"ID={request_id}\nPROMETHEUS={real.prometheus}\n{page}", real, tmp_path)
    assert request_id in shown
    assert f"http://127.0.0.1:16686/trace/{root.trace_id.hex()}" in shown
    for part in ("denoise", "findings at that time", "images"):
        assert part in shown


def test_every_exemplar_leads_to_a_trace_that_arrived_and_sums_to_its_request(real: Real) -> None:
    name = f"{NAMESPACE}_request_duration_seconds_bucket"
    data = real.get("query_exemplars", query=name, start="0", end="9999999999")
    exemplars = [one["labels"] for series in data for one in series["exemplars"]]
    assert exemplars
    arrived = roots(real.receiver)
    for labels in exemplars:
        root = arrived[labels["request_id"]]
        assert root.trace_id.hex() == labels["trace_id"]
        stages = [
            span
            for span in spans_of(real.receiver)
            if span.trace_id == root.trace_id and span.name in STAGES
        ]
        seconds = sum(each.end_time_unix_nano - each.start_time_unix_nano for each in stages)
        assert abs(seconds - (root.end_time_unix_nano - root.start_time_unix_nano)) < 1_000_000


def test_no_trace_is_lost(real: Real) -> None:
    samples = parse(real.metrics().text)
    (sent,) = [value for _, value in where(samples, TRACES.name, outcome="sent")]
    (lost,) = [value for _, value in where(samples, TRACES.name, outcome="lost")]
    assert sent > 0
    assert lost == 0


def test_the_service_is_named_in_its_traces(real: Real) -> None:
    names = {
        value.value.string_value
        for each in real.receiver.traces
        for resource in each.resource_spans
        for value in resource.resource.attributes
        if value.key == "service.name"
    }
    assert EDITOR in names
