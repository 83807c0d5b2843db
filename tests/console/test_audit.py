"""The audit log: private, bounded, whole lines only, and no action without a line."""

import json
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from safelight.console.audit import Audit
from safelight.errors import BadSetting


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_entry_is_one_line_of_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "state")
    audit.write({"id": "a", "name": "anna\nforged"})
    assert lines(audit.path) == [{"id": "a", "name": "anna\nforged"}]
    assert audit.path.stat().st_mode & 0o777 == 0o600
    assert audit.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.path.touch(0o644)
    audit.write({"id": "a"})
    assert audit.path.stat().st_mode & 0o777 == 0o600


def test_the_newest_comes_first_and_of_each_action_its_end(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    assert audit.last() == []
    for entry in ({"id": "a", "n": 1}, {"id": "b", "n": 1}, {"id": "a", "n": 2}):
        audit.write(entry)
    assert audit.last() == [{"id": "b", "n": 1}, {"id": "a", "n": 2}]


def test_at_most_two_hundred_are_shown(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for number in range(210):
        audit.write({"id": str(number)})
    assert [entry["id"] for entry in audit.last()] == [str(n) for n in range(209, 9, -1)]


def test_the_log_is_bounded_and_keeps_one_older_file(tmp_path: Path) -> None:
    audit = Audit(tmp_path, limit_bytes=1000)
    for number in range(300):
        audit.write({"id": str(number), "text": "x" * 50})
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["audit.1.jsonl", "audit.jsonl"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert len(audit.last()) > 10
    assert audit.last()[0]["id"] == "299"


def test_a_line_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.path.write_text('{"id": "a"}\n{"id": "to')
    audit.write({"id": "b"})
    assert [entry["id"] for entry in audit.last()] == ["b", "a"]


def test_damaged_lines_and_those_of_others_are_left_out(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.path.write_bytes(b'\xff\xfe\n[1]\n{"id": 7}\n{"no": "id"}\n\n{"id": "a"}\n')
    assert audit.last() == [{"id": "a"}]


def test_consoles_that_write_at_once_lose_no_line(tmp_path: Path) -> None:
    def write(number: int) -> None:
        Audit(tmp_path).write({"id": str(number), "text": "x" * 500})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(80)))
    assert {entry["id"] for entry in lines(tmp_path / "audit.jsonl")} == set(map(str, range(80)))


@contextmanager
def full_disk(after_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_said_and_leaves_no_half_of_a_line(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.write({"id": "a"})
    before = audit.path.read_bytes()
    with (
        full_disk(len(before) + 20),
        pytest.raises(BadSetting, match=r"cannot be written: .* not done"),
    ):
        audit.write({"id": "b", "text": "x" * 100})
    assert audit.path.read_bytes() == before
    audit.write({"id": "c"})
    assert [entry["id"] for entry in audit.last()] == ["c", "a"]


@pytest.mark.parametrize("kind", ["folder", "link", "fifo"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    audit = Audit(tmp_path / "state")
    audit.path.parent.mkdir()
    if kind == "folder":
        audit.path.mkdir()
    elif kind == "link":
        audit.path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(audit.path)
    with pytest.raises(BadSetting, match="cannot be written"):
        audit.write({"id": "a"})
    assert not (tmp_path / "elsewhere").exists()
    if kind != "link":
        with pytest.raises(BadSetting, match="cannot be read"):
            audit.last()


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(BadSetting, match="cannot be written"):
        Audit(tmp_path / "state").write({"id": "a"})
