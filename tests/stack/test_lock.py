"""Who may use a state folder, with real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from safelight.errors import BadSetting
from safelight.stack.lock import StateLock, leftovers, running, stop
from safelight.stack.programs import Running
from tests.stack.test_programs import web
from tests.stack.waiting import all_gone, eventually

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
# A process that starts a program as `safelight up` does, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from safelight.stack.lock import StateLock
from safelight.stack.programs import Program, Running
folder = Path(sys.argv[1])
lock = StateLock(folder / "state")
lock.take()
program = Program("one", (sys.executable, "-c", "import time; time.sleep(60)"), "127.0.0.1", 9, "/")
started = Running(program, folder)
lock.note([started])
print(started.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


def taken(state: Path) -> StateLock:
    lock = StateLock(state)
    lock.take()
    return lock


def test_a_second_up_cannot_use_the_folder(tmp_path: Path) -> None:
    first = taken(tmp_path / "state")
    with pytest.raises(BadSetting, match="Another `safelight up` uses the state folder"):
        StateLock(tmp_path / "state").take()
    first.release()
    taken(tmp_path / "state").release()


def test_programs_of_an_earlier_run_are_named_with_what_to_do(tmp_path: Path) -> None:
    first, program = taken(tmp_path), Running(web("one", tmp_path), tmp_path)
    first.note([program])
    first.release()
    message = rf"one \(pid {program.pid}\)\. Stop them with `safelight down`"
    with pytest.raises(BadSetting, match=message):
        StateLock(tmp_path).take()
    [left] = leftovers(tmp_path)
    stop([left])
    eventually(lambda: program.ended is not None, within=5, what="it is stopped")
    taken(tmp_path).release()


def test_another_process_with_the_same_id_is_no_leftover(
    tmp_path: Path, sleeping: "subprocess.Popen[bytes]"
) -> None:
    content = {"programs": [{"name": "old", "pid": sleeping.pid, "created": 1.0}]}
    (tmp_path / "up.json").write_text(json.dumps(content))
    assert leftovers(tmp_path) == []
    stop(leftovers(tmp_path))
    assert sleeping.poll() is None


@pytest.mark.parametrize("content", ["", "{", "null-ish", "[]"])
def test_a_damaged_file_is_no_obstacle(content: str, tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(content)
    assert leftovers(tmp_path) == []
    assert running(tmp_path) is None
    taken(tmp_path).release()


def test_the_folder_is_private(tmp_path: Path) -> None:
    taken(tmp_path / "state").release()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_a_program_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = (sys.executable, "-c", PARENT, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        up = running(tmp_path / "state")
        assert up is not None
        assert up.pid == parent.pid
        parent.kill()
        parent.wait()
    eventually(lambda: all_gone([child]), within=10, what="the program ended too")
    assert running(tmp_path / "state") is None
    taken(tmp_path / "state").release()


def test_a_program_that_is_stopped_in_order_is_no_leftover(tmp_path: Path) -> None:
    lock = taken(tmp_path / "state")
    program = Running(web("one", tmp_path), tmp_path)
    lock.note([program])
    assert [each.pid for each in leftovers(tmp_path / "state")] == [program.pid]
    program.stop(5)
    assert leftovers(tmp_path / "state") == []
    lock.release()
    assert os.path.exists(tmp_path / "state" / "up.json")
