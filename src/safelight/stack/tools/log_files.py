"""Read the lines of log files, those that were renamed first, and follow a file as it grows."""

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import BinaryIO

from safelight.errors import BadSetting

STDIN = "-"
_LAST_WAITS = 5  # other processes write to a file for a second after it was renamed
_LINE_BYTES = 1024 * 1024  # of a longer line only so much is read at once: it is no log line
_TIME = re.compile(rb'"@timestamp":\s?"([^"]{19,40})"')
_NEAR_BYTES, _MOST_BYTES = 64 * 1024, 8 * 1024 * 1024  # read between two times, of one file


def read(names: list[str]) -> Iterator[bytes]:
    """Yield the lines of files, or of standard input (`-`); of a file also the earlier ones.

    No file is read twice. Raises BadSetting if one cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    for name in names:
        if name == STDIN:
            yield from _lines(sys.stdin.buffer)
            continue
        with ExitStack() as opened:
            files = _with_earlier(Path(name), opened, seen)
            for file in reversed(files):
                yield from _lines(file)


def between(name: str, begin: str, end: str) -> Iterator[bytes]:
    """Yield the JSON lines of a file, and of the earlier ones, between two times.

    Times are as in the lines. Only that part of a file is read, and at most 8 MiB of each. Raises
    BadSetting if a file cannot be read.
    """
    with ExitStack() as opened:
        for file in reversed(_with_earlier(Path(name), opened, set())):
            if not _TIME.search(file.readline(_LINE_BYTES)):
                continue  # the log of another program
            _seek_time(file, begin.encode())
            size = 0
            for line in _lines(file):
                size += len(line)
                found = _TIME.search(line)
                if size > _MOST_BYTES or (found and found[1] > end.encode()):
                    break
                if found and found[1] >= begin.encode():
                    yield line


def _seek_time(file: BinaryIO, begin: bytes) -> None:
    """Go to a line that is not long before a time: lines are in the order of their times."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(_LINE_BYTES)  # the rest of a line
        found = _TIME.search(file.readline(_LINE_BYTES))
        if found and found[1] < begin:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline(_LINE_BYTES)


def _with_earlier(path: Path, opened: ExitStack, seen: set[tuple[int, int]]) -> list[BinaryIO]:
    """Open a file and the earlier ones, the newest first: one that is renamed now is not lost."""
    files = []
    for number in count():
        each = path.with_name(f"{path.name}.{number}") if number else path
        if number and not each.exists():
            break
        file = opened.enter_context(_opened(each))
        status = os.fstat(file.fileno())
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            files.append(file)
    return files


def follow(name: str, wait: Callable[[], object]) -> Generator[bytes, None, None]:
    """Yield the lines that are appended to a file from now on, also after it was renamed or cut.

    `wait` is called whenever there is nothing new. Raises BadSetting if the file cannot be read.
    """
    path, rest, waits = Path(name), b"", 0
    file = _opened(path)
    try:
        _seek_end(file, path)
        while True:
            rest += file.readline(_LINE_BYTES)
            if rest.endswith(b"\n") or len(rest) >= _LINE_BYTES:
                yield rest
                rest, waits = b"", 0
            elif os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
                rest = b""
            elif waits >= _LAST_WAITS and _is_renamed(path, file):
                file.close()
                file, rest, waits = _opened(path), b"", 0
            else:
                wait()
                waits += 1
    finally:
        file.close()


def _seek_end(file: BinaryIO, path: Path) -> None:
    try:
        file.seek(0, os.SEEK_END)
    except OSError:
        raise BadSetting(f"{str(path)[:200]} cannot be followed: it is no file.") from None


def _is_renamed(path: Path, file: BinaryIO) -> bool:
    """Return whether the path has another file now."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:  # renamed, and the next file is not there yet
        return False


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LINE_BYTES):
        yield line


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadSetting(
            f"{str(path)[:200]} cannot be read: {error.strerror}. Name the file of "
            "SAFELIGHT_LOG_OUTPUT, or - for standard input."
        ) from None
