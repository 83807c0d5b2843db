"""`safelight logs`, on files that a real service and its output wrote."""

import json
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import pytest

from safelight.stack.tools.log_files import follow, read
from safelight.telemetry.ecs import request_line
from safelight.telemetry.output import LogFile
from safelight.telemetry.record import Record
from tests.cli.conftest import Call
from tests.records.making import a_record

EVENT = '{"@timestamp":"2026-12-01T11:59:00.000Z","log.level":"warning","message":"worker lost"'
EVENT += ',"event":{"action":"worker-lost"},"safelight":{"reason":"hung"}}'


def line_of(record: Record, at: str = "2026-12-01T12:00:00.000Z") -> str:
    line = json.loads(request_line("info", record, {}))
    return json.dumps({**line, "@timestamp": at})


def failed(name: str, reason: str, **more: Any) -> Record:
    return a_record(name, error=reason, status_code=500, **more)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return a log of two hours: an event, two successes, three failures, and a torn line."""
    file = tmp_path / "safelight.log"
    lines = [
        EVENT,
        line_of(a_record("first", seconds=1.0, instruction_type="make_him_old")),
        line_of(a_record("second", seconds=12.0, instruction_type="add_hat")),
        line_of(failed("third", "cuda_oom", instruction_type="add_hat")),
        line_of(failed("fourth", "cuda_oom"), "2026-12-01T13:05:00.000Z"),
        line_of(failed("fifth", "timeout", seconds=30.0), "2026-12-01T13:06:00.000Z"),
        '{"@timestamp":"2026-12-01T13:0',
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["worker lost: hung", "first", "second", "third", "fourth", "fifth"]),
        (("--reason", "cuda_oom"), ["third", "fourth"]),
        (("--reason", "cuda_oom", "--reason", "timeout"), ["third", "fourth", "fifth"]),
        (("--reason", "none"), ["first", "second"]),
        (("--type", "add_hat"), ["second", "third"]),
        (("--slow", "10"), ["second", "fifth"]),
        (("--id", "fourth"), ["fourth"]),
        (("--type", "add_hat", "--slow", "10"), ["second"]),
        (("--id", "nowhere"), []),
    ],
)
def test_lines_are_chosen(
    call: Call, log: Path, options: tuple[str, ...], found: list[str]
) -> None:
    called = call("logs", str(log), *options)
    assert [line.split()[-1] for line in called.out.splitlines()] == [
        each.split()[-1] for each in found
    ]
    assert called.code == 0


def test_lines_that_are_not_json_are_counted(call: Call, log: Path) -> None:
    assert call("logs", str(log)).err == "1 line left out: they are not JSON.\n"


def test_chosen_lines_are_printed_as_they_are(call: Call, log: Path) -> None:
    output = call("logs", str(log), "--reason", "timeout", "--json").out
    assert output == log.read_text().splitlines(keepends=True)[5]


def test_since_leaves_older_lines_out(call: Call, log: Path) -> None:
    with log.open("a") as file:
        file.write(line_of(a_record("new"), f"{_now()}.000Z") + "\n")
    assert [
        line.split()[-1] for line in call("logs", str(log), "--since", "1h").out.splitlines()
    ] == ["new"]


def _now() -> str:
    return datetime.fromtimestamp(time(), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def test_requests_are_counted_by_hour_and_reason(call: Call, log: Path) -> None:
    output = call("logs", str(log), "--summary").out
    assert "5 requests; the slowest took 30 s" in output
    rows = [line.split() for line in output.splitlines()[1:]]
    assert rows[0] == ["hour", "(UTC)", "requests", "ok", "cuda_oom", "timeout"]
    assert rows[1:] == [
        ["2026-12-01", "12", "3", "2", "1"],
        ["2026-12-01", "13", "2", "1", "1"],
        ["all", "5", "2", "2", "1"],
    ]
    counts = json.loads(call("logs", str(log), "--summary", "--json").out)
    assert counts["hours"][0] == {"hour": "2026-12-01T12", "requests": {"none": 2, "cuda_oom": 1}}


def test_failed_requests_without_a_line_are_counted(call: Call, tmp_path: Path) -> None:
    told = {"action": "requests-left-out"}
    line = {"@timestamp": "2026-12-01T12:00:01.000Z", "event": told, "error": {"type": "timeout"}}
    lines = [
        line_of(failed("one", "timeout")),
        json.dumps({**line, "safelight": {"requests": 480}}),
    ]
    (tmp_path / "log").write_text("\n".join(lines))
    for options in ((), ("--reason", "timeout")):
        out = call("logs", str(tmp_path / "log"), "--summary", "--json", *options).out
        assert json.loads(out)["hours"][0]["requests"] == {"timeout": 481}


def test_a_foreign_log_cannot_break_the_table(call: Call, tmp_path: Path) -> None:
    lines = [
        {"@timestamp": stamp, "event": {"action": "request"}, "error": {"type": f"[/{number}]"}}
        for number, stamp in enumerate(("[/x]", "\x1b[2J", 1700000000000, "2026-12-01T12:00"))
    ]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)))
    out = call("logs", str(tmp_path / "log"), "--summary").out
    assert "4 requests" in out
    assert "other" in out
    assert "\x1b" not in out


def test_a_log_without_requests_has_no_table(call: Call, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(EVENT + "\n")
    assert call("logs", str(tmp_path / "log"), "--summary").out == "No request.\n"


def test_standard_input_is_read(log: Path) -> None:
    command = [sys.executable, "-m", "safelight", "logs", "-", "--reason", "timeout"]
    with log.open() as file:
        output = subprocess.check_output(command, stdin=file, text=True)
    assert output.split()[-1] == "fifth"


def test_what_a_line_contains_does_not_reach_the_terminal(call: Call, tmp_path: Path) -> None:
    nasty = {
        "event": {"action": "request"},
        "url": {"path": "/\x1b[31m\n\u202e"},
        "error": {"type": "\x1b"},
    }
    (tmp_path / "log").write_text(json.dumps(nasty) + "\n")
    for options in ((), ("--summary",)):
        output = call("logs", str(tmp_path / "log"), *options).out
        assert not {"\x1b", "\u202e"} & set(output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("/nowhere/x.log",), "cannot be read: No such file or directory"),
        ((), "The log goes to stderr"),
        (("-", "--follow"), "--follow needs one file"),
        (("x", "--since", "soon"), "'soon' is not a valid duration"),
    ],
)
def test_bad_input_says_what_to_do(call: Call, arguments: tuple[str, ...], message: str) -> None:
    called = call("logs", *arguments)
    assert called.code == 2
    assert message in called.err


def test_files_that_were_renamed_are_read_first(tmp_path: Path) -> None:
    output = LogFile(tmp_path / "a[1].log", limit_bytes=20, kept=20)
    for number in range(12):
        output.write(f"line {number:09}")
    (tmp_path / "a[1].log.gz").write_text("no log\n")
    numbers = [int(line.split()[1]) for line in read([str(tmp_path / "a[1].log")])]
    assert numbers == list(range(12))


def test_a_file_that_is_renamed_while_it_is_read_loses_no_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    output = LogFile(file, limit_bytes=5, kept=9)
    for name in ("first", "second", "third"):
        output.write(name)
    lines = read([str(file), str(file)])
    found = [next(lines)]
    output.write("fourth")
    assert [*found, *lines] == [b"first\n", b"second\n", b"third\n", b"fourth\n"]


def test_no_file_is_read_twice(tmp_path: Path) -> None:
    for name in ("log", "log.1"):
        (tmp_path / name).write_text(f"{name}\n")
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    assert list(read(names)) == [b"log.1\n", b"log\n"]


def test_a_file_that_was_cut_is_followed_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("a long line before\n")
    texts = iter(["new\n"])
    with closing(follow(str(file), lambda: file.write_text(next(texts)))) as lines:
        assert next(lines) == b"new\n"


def test_a_file_is_followed_over_its_renaming(tmp_path: Path) -> None:
    output = LogFile(tmp_path / "log", limit_bytes=40, kept=3)
    output.write("before")
    waits = written = 0

    def wait() -> None:
        nonlocal waits, written
        waits += 1
        if waits % 10 == 0:
            output.write(f"line {written:09}")
            written += 1

    with closing(follow(str(tmp_path / "log"), wait)) as lines:
        assert [int(next(lines).split()[1]) for _ in range(10)] == list(range(10))


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    parts = iter(["ha", "lf\nne", "xt\n"])

    def wait() -> None:
        with file.open("a") as growing:
            growing.write(next(parts))

    with closing(follow(str(file), wait)) as lines:
        assert [next(lines), next(lines)] == [b"half\n", b"next\n"]
