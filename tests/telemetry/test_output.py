"""Where lines go, and what happens when a file is full, removed or shared by processes."""

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from safelight.errors import BadSetting
from safelight.settings import load
from safelight.telemetry.output import LogFile, Stream, output_of
from tests.reading import FakeClock

WRITER = """
import sys
from fcntl import LOCK_EX, flock
from pathlib import Path
from safelight.telemetry.output import LogFile
file = LogFile(Path(sys.argv[1]), 20_000, 100)
for number in range(2000):
    file.write(f"{sys.argv[2]} {number:04} " + "x" * 30)
"""


def log(
    folder: Path, *, limit: int = 100, kept: int = 2, clock: FakeClock | None = None
) -> LogFile:
    return LogFile(folder / "log", limit, kept, clock or FakeClock())


def texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_full_file_is_renamed_and_the_oldest_goes(tmp_path: Path) -> None:
    file = log(tmp_path, limit=8)
    for number in range(9):
        file.write(f"line {number}")
    assert texts(tmp_path) == {
        "log": "line 8\n",
        "log.1": "line 6\nline 7\n",
        "log.2": "line 4\nline 5\n",
    }


def test_the_lines_go_on_after_those_of_an_earlier_process(tmp_path: Path) -> None:
    log(tmp_path).write("one")
    log(tmp_path).write("two")
    assert texts(tmp_path) == {"log": "one\ntwo\n"}


def test_a_file_that_was_renamed_or_removed_is_opened_again_within_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    file = log(tmp_path, clock=clock)
    file.write("one")
    (tmp_path / "log").rename(tmp_path / "moved")
    file.write("two")
    clock.now += 1
    file.write("three")
    (tmp_path / "log").unlink()
    clock.now += 1
    file.write("four")
    assert texts(tmp_path) == {"moved": "one\ntwo\n", "log": "four\n"}


def test_a_second_process_notices_that_the_first_renamed_the_file(tmp_path: Path) -> None:
    first, second = log(tmp_path, limit=8), log(tmp_path, limit=8)
    for number in range(4):
        (first, second)[number % 2].write(f"line {number}")
    assert "".join(sorted("".join(texts(tmp_path).values()).splitlines(keepends=True))) == (
        "line 0\nline 1\nline 2\nline 3\n"
    )


def test_several_processes_lose_and_mix_no_line(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = [line for text in texts(tmp_path).values() for line in text.splitlines()]
    assert sorted(lines) == [f"{name} {n:04} {'x' * 30}" for name in "abc" for n in range(2000)]
    assert len(texts(tmp_path)) > 3


def test_a_line_that_a_full_disk_cuts_is_lost_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = log(tmp_path, limit=10_000)
    file.write("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # as a disk with ten bytes
    try:
        with pytest.raises(OSError, match="No space left"):
            file.write("a long line that does not fit")
        with pytest.raises(OSError, match="File too large"):
            file.write("and one more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.write("after")
    assert texts(tmp_path)["log"].splitlines() == ["before", "a l", "after"]


@pytest.mark.parametrize(
    ("before", "after"), [("", "one\n"), ("whole\n", "whole\none\n"), ("torn", "torn\none\n")]
)
def test_a_line_that_an_earlier_process_did_not_finish_swallows_no_other(
    before: str, after: str, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(before)
    log(tmp_path).write("one")
    assert texts(tmp_path)["log"] == after


def test_a_line_that_is_written_while_the_file_is_opened_again_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, close = log(tmp_path, limit=1), os.close

    def noisy(number: int) -> None:
        monkeypatch.setattr(os, "close", close)
        close(number)
        file.write("of a finalizer")

    monkeypatch.setattr(os, "close", noisy)
    file.write("one")
    assert "of a finalizer\n" in texts(tmp_path).values()


def test_where_nothing_can_be_renamed_the_lines_go_on(tmp_path: Path) -> None:
    file = log(tmp_path, limit=1)
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1" / "user").touch()
    (tmp_path / "log.2").mkdir()
    (tmp_path / "log.2" / "user").touch()
    for number in range(3):
        file.write(str(number))
    log(tmp_path, limit=1).write("other")  # another process does not wait for the first
    file.write("3")
    assert (tmp_path / "log").read_text() == "0\n1\n2\nother\n3\n"


def test_while_another_process_renames_the_lines_go_on(tmp_path: Path) -> None:
    file = log(tmp_path, limit=1)
    with (tmp_path / "log").open() as held:
        flock(held, LOCK_EX)
        file.write("one")
    file.write("two")
    assert texts(tmp_path) == {"log": "", "log.1": "one\ntwo\n"}


def test_lines_to_a_pipe_are_written_and_the_pipe_is_not_renamed(tmp_path: Path) -> None:
    place = tmp_path / "pipe"
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(place, 1, 2)
    file.write("one")
    file.write("two")
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]


def test_the_standard_output_by_its_path_takes_every_line() -> None:
    script = """
from safelight.settings import load
from safelight.telemetry.output import output_of
output = output_of(load(log_output="/dev/stdout"))
output.write("one")
output.write("two")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("one\ntwo\n", "")


def test_the_file_behind_a_link_is_renamed_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "log").symlink_to(tmp_path / "data" / "real")
    output = output_of(load(log_output=str(tmp_path / "log"), log_file_bytes=1024**2))
    for _ in range(1025):
        output.write("x" * 1023)
    assert (tmp_path / "log").is_symlink()
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "data").iterdir()}
    assert sizes == {"real": 1024, "real.1": 1024**2}


def test_a_folder_in_which_the_file_cannot_be_renamed_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").touch()
    allowed = {tmp_path: False, Path(os.devnull).parent: False}
    monkeypatch.setattr(os, "access", lambda path, _: allowed.get(path, True))  # root may do all
    with pytest.raises(BadSetting, match="log could not be renamed when it is full"):
        output_of(load(log_output=str(tmp_path / "log")))
    output_of(load(log_output=os.devnull)).write("one")


def test_a_half_character_is_replaced(tmp_path: Path) -> None:
    log(tmp_path).write("half \ud800")
    assert texts(tmp_path)["log"] == "half ?\n"


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_other_users_can_read_each_new_file_whatever_the_umask_is(tmp_path: Path) -> None:
    file = log(tmp_path, limit=4)
    file.write("one")
    assert {each.name: mode(each) for each in tmp_path.iterdir()} == {"log": 0o644, "log.1": 0o644}


@pytest.mark.usefixtures("strict_umask")
def test_the_mode_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    (tmp_path / "log").chmod(0o640)
    log(tmp_path).write("one")
    assert mode(tmp_path / "log") == 0o640


@pytest.mark.parametrize("is_there", [True, False])
def test_only_the_user_of_the_service_reads_a_file_with_private_data(
    is_there: bool, tmp_path: Path
) -> None:
    place = tmp_path / "log"
    if is_there:
        place.touch(0o644)
    settings = load(log_output=str(place), log_private=True, log_file_bytes=1024**2)
    output = output_of(settings)
    for _ in range(1025):
        output.write("x" * 1023)
    assert {mode(file) for file in tmp_path.iterdir()} == {0o600}


def test_a_device_keeps_its_mode(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    output_of(load(log_output=str(tmp_path / "pipe"), log_private=True)).write("one")
    os.close(reader)
    assert mode(tmp_path / "pipe") == 0o644


@pytest.mark.parametrize("name", ["stderr", "stdout"])
def test_a_stream_is_the_current_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = output_of(load(log_output=name))
    assert isinstance(output, Stream)
    output.write("one")
    assert getattr(capsys.readouterr(), name.removeprefix("std")) == "one\n"
    assert output.is_terminal is False


@pytest.mark.parametrize("name", ["nowhere/log", "/proc/log", ".", "loop"])
def test_a_file_that_cannot_be_written_is_one_clear_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadSetting, match=f"SAFELIGHT_LOG_OUTPUT: {name} cannot be written: "):
        output_of(load(log_output=name))


def test_the_size_and_the_number_of_files_are_settings(tmp_path: Path) -> None:
    settings = load(log_output=str(tmp_path / "log"), log_file_bytes=1024**2, log_files=1)
    output = output_of(settings)
    for _ in range(3 * 1024):
        output.write("x" * 1023)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes == {"log": 0, "log.1": 1024**2}
