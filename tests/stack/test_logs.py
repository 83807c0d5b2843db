"""The logs of programs that write for ever."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.stack.logs import Logs, last_line

LIMIT = 1024**2
SHARE = LIMIT // 4  # of two programs with two files each
WRITER = """
import sys
number = 0
for line in sys.stdin:
    for _ in range(int(line)):
        sys.stdout.write(f"{number:099}\\n")
        number += 1
    sys.stdout.flush()
    sys.stderr.write("written\\n")
    sys.stderr.flush()
"""


class Writer:
    """A process that appends to its log, as a program of a stack does."""

    def __init__(self, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", WRITER],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )

    def write(self, lines: int) -> None:
        """Write so many lines of a hundred bytes, and wait until they are written."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.write(f"{lines}\n")
        self._process.stdin.flush()
        assert self._process.stderr.readline() == "written\n"

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    made = Logs(tmp_path / "logs", ["api", "prometheus"], LIMIT)
    made.prepare()
    return made


@pytest.fixture
def writer(logs: Logs) -> Iterator[Writer]:
    started = Writer(logs.folder / "api.log")
    yield started
    started.end()


def numbers(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()]


def total(logs: Logs) -> int:
    return sum(file.stat().st_size for file in logs.folder.iterdir())


def test_a_program_that_writes_for_ever_does_not_fill_the_disk(logs: Logs, writer: Writer) -> None:
    for _ in range(50):
        writer.write(lines=1000)
        logs.rotate()
        assert total(logs) <= 2 * SHARE
    kept = numbers(logs.folder / "api.log.1") + numbers(logs.folder / "api.log")
    assert kept == list(range(kept[0], 50_000)), "whole lines, in order, up to the last"
    assert len(kept) > SHARE // 100 - 2


def test_a_burst_is_cut_to_the_limit(logs: Logs, writer: Writer) -> None:
    writer.write(lines=100_000)
    logs.rotate()
    assert total(logs) <= SHARE
    assert numbers(logs.folder / "api.log.1")[-1] == 99_999


def test_a_small_log_is_left_alone(logs: Logs, writer: Writer) -> None:
    writer.write(lines=SHARE // 100)
    logs.rotate()
    assert sorted(file.name for file in logs.folder.iterdir()) == ["api.log", "prometheus.log"]


def test_only_their_user_can_read_the_logs(logs: Logs, writer: Writer) -> None:
    writer.write(lines=5000)
    logs.rotate()
    modes = {file.name: file.stat().st_mode & 0o777 for file in logs.folder.iterdir()}
    assert modes == dict.fromkeys(("api.log", "api.log.1", "prometheus.log"), 0o600)
    assert logs.folder.stat().st_mode & 0o777 == 0o700


def test_a_new_run_begins_with_empty_logs(logs: Logs, writer: Writer) -> None:
    writer.write(lines=5000)
    logs.rotate()
    logs.prepare()
    assert total(logs) == 0
    assert not (logs.folder / "api.log.1").exists()


def test_a_log_that_its_user_removed_stops_nothing(logs: Logs) -> None:
    (logs.folder / "api.log").unlink()
    (logs.folder / "prometheus.log").write_bytes(b"x\n" * SHARE)
    logs.rotate()
    assert (logs.folder / "prometheus.log").stat().st_size == 0


def test_on_a_full_disk_the_log_is_emptied_without_a_copy(
    logs: Logs, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    writer.write(lines=5000)
    logs.rotate()
    assert total(logs) == 0
    assert not (logs.folder / "api.log.1").exists()


def test_the_last_line_is_found_after_a_rotation(logs: Logs, writer: Writer) -> None:
    file = logs.folder / "api.log"
    assert last_line(file) == "no output"
    writer.write(lines=5000)
    logs.rotate()
    assert file.stat().st_size == 0
    assert int(last_line(file)) == 4999
    file.write_text("an error\n\n  \n")
    assert last_line(file) == "an error"
