import os
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.metrics.processes import folder
from safelight.metrics.processes.folder import (
    VALUES,
    base,
    exclusive,
    has_members,
    main,
    remove_later,
    start_of,
    sweep,
)

LOCKED = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds the lock of a file until the end of the block."""

    def __init__(self, path: Path) -> None:
        self._command = [sys.executable, "-c", LOCKED, str(path)]

    def __enter__(self) -> "subprocess.Popen[str]":
        self.process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "locked\n"
        return self.process

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folder, "_MEMORY", tmp_path)
    return tmp_path / f"safelight-{os.geteuid()}"


def group(parent: Path, pid: int, started: int) -> Path:
    path = parent / f"{pid}-{started}-pix-0.1-1.0"
    path.mkdir(parents=True)
    return path


def test_the_folder_of_a_user_is_private(own: Path) -> None:
    assert base() == own
    assert own.stat().st_mode & 0o777 == 0o700
    assert base() == own


def test_a_folder_that_others_can_write_is_refused(own: Path) -> None:
    own.mkdir(mode=0o700)
    own.chmod(0o777)
    with pytest.raises(PermissionError, match="private"):
        base()


def test_a_link_to_another_folder_is_refused(own: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        base()


def test_a_process_has_one_start_and_none_after_its_end() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = start_of(process.pid)
        assert started == start_of(process.pid) > 0
        process.kill()
    assert start_of(process.pid) == 0


def test_a_process_is_a_member_until_it_is_killed(tmp_path: Path) -> None:
    with Holder(tmp_path / f"1-1{VALUES}") as process:
        assert has_members(tmp_path)
        process.kill()
        process.wait()
        assert not has_members(tmp_path)


def test_a_folder_that_another_process_holds_is_not_waited_for_forever(tmp_path: Path) -> None:
    with (
        Holder(tmp_path / "lock"),
        pytest.raises(TimeoutError, match="holds"),
        exclusive(tmp_path, wait_seconds=0.05),
    ):
        pass
    with exclusive(tmp_path):
        pass


def test_an_error_inside_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive(tmp_path):
        raise FileNotFoundError
    with exclusive(tmp_path):
        pass


def test_the_next_start_removes_what_killed_groups_left(tmp_path: Path) -> None:
    ended = group(tmp_path, 4_000_000, 5)
    reused = group(tmp_path, os.getpid(), 5)
    alive = group(tmp_path, os.getppid(), start_of(os.getppid()))
    orphaned = group(tmp_path, 4_000_001, 5)
    foreign = tmp_path / "something else"
    foreign.mkdir()
    with Holder(orphaned / f"1-1{VALUES}"):
        sweep(tmp_path, supervisor=1)
    assert not ended.exists()
    assert not reused.exists()
    assert alive.exists()
    assert orphaned.exists()
    assert foreign.exists()


def test_the_files_are_removed_when_the_supervisor_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "base" / "group"
    path.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        remove_later(path, process.pid, start_of(process.pid))
        assert path.exists()
        process.kill()
    for _ in range(200):
        if not path.parent.exists():
            break
        subprocess.run(["sleep", "0.05"])
    assert not path.parent.exists()


def test_the_files_stay_if_a_new_worker_has_joined(tmp_path: Path) -> None:
    with Holder(tmp_path / f"1-1{VALUES}"):
        main(tmp_path, os.getpid(), start_of(os.getpid()))
    assert tmp_path.exists()
