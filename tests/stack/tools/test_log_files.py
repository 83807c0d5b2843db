"""The lines of a log between two times are read without the rest of it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safelight.errors import BadSetting
from safelight.stack.tools import log_files
from safelight.stack.tools.log_files import between

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def time(second: int) -> str:
    return (BEGIN + timedelta(seconds=second)).isoformat().replace("+00:00", ".000Z")


def write(file: Path, seconds: range) -> None:
    lines = (json.dumps({"@timestamp": time(n), "message": f"line {n}"}) for n in seconds)
    file.write_text("".join(f"{line}\n" for line in lines))


def numbers(file: Path, first: int, last: int) -> list[int]:
    found = between(str(file), time(first), time(last))
    return [int(json.loads(line)["message"].split()[1]) for line in found]


@pytest.mark.parametrize(
    ("first", "last"), [(0, 3), (9_990, 10_050), (29_998, 40_000), (-9, -1), (12_345, 12_345)]
)
def test_the_lines_between_two_times_are_found(tmp_path: Path, first: int, last: int) -> None:
    write(tmp_path / "log", range(30_000))
    assert numbers(tmp_path / "log", first, last) == [
        n for n in range(first, last + 1) if 0 <= n < 30_000
    ]


def test_the_earlier_files_are_read_first(tmp_path: Path) -> None:
    write(tmp_path / "log.1", range(100))
    write(tmp_path / "log", range(100, 200))
    assert numbers(tmp_path / "log", 98, 102) == [98, 99, 100, 101, 102]


def test_only_a_part_of_a_large_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "log", range(1000))
    monkeypatch.setattr(log_files, "_NEAR_BYTES", 512)
    monkeypatch.setattr(log_files, "_MOST_BYTES", 1024)
    found = numbers(tmp_path / "log", 500, 999)
    assert found[0] == 500
    assert len(found) < 25


def test_the_log_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("level=info msg=started\n" * 100)
    assert list(between(str(tmp_path / "log"), time(0), time(9))) == []


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadSetting):
        list(between(str(tmp_path / "none"), time(0), time(9)))
