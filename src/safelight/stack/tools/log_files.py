"""Read the lines of log files, those that were renamed first, and follow a file as it grows."""

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from safelight.errors import BadSetting

STDIN = "-"
_EARLIER = re.compile(r"\.(\d+)$")
_LAST_WAITS = 5  # other processes write to a file for a second after it was renamed
_LINE_BYTES = 1024 * 1024  # of a longer line only so much is read at once: it is no log line


def read(names: list[str]) -> Iterator[bytes]:
    """Yield the lines of files, or of standard input (`-`); of a file also the earlier ones.

    Raises BadSetting if one cannot be read.
    """
    for name in names:
        if name == STDIN:
            yield from _lines(sys.stdin.buffer)
            continue
        for path in [*_earlier(Path(name)), Path(name)]:
            with _opened(path) as file:
                yield from _lines(file)


def follow(name: str, wait: Callable[[], object]) -> Generator[bytes, None, None]:
    """Yield the lines that are appended to a file from now on, also after it was renamed.

    `wait` is called whenever there is nothing new. Raises BadSetting if the file cannot be read.
    """
    path, rest, waits = Path(name), b"", 0
    file = _opened(path)
    file.seek(0, os.SEEK_END)
    try:
        while True:
            rest += file.readline(_LINE_BYTES)
            if rest.endswith(b"\n") or len(rest) >= _LINE_BYTES:
                yield rest
                rest, waits = b"", 0
            elif waits >= _LAST_WAITS and _is_renamed(path, file):
                file.close()
                file, rest, waits = _opened(path), b"", 0
            else:
                wait()
                waits += 1
    finally:
        file.close()


def _is_renamed(path: Path, file: BinaryIO) -> bool:
    """Return whether the path has another file now, of which `file` was the earlier one."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:  # renamed, and the next file is not there yet
        return False


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_LINE_BYTES):
        yield line


def _earlier(path: Path) -> list[Path]:
    """Return the files that were renamed when they were full, the oldest first."""
    numbered = {
        int(found[1]): each
        for each in path.parent.glob(f"{_escaped(path.name)}.*")
        if (found := _EARLIER.search(each.name)) and each.name == f"{path.name}{found[0]}"
    }
    return [numbered[number] for number in sorted(numbered, reverse=True)]


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadSetting(
            f"{str(path)[:200]} cannot be read: {error.strerror}. Name the file of "
            "SAFELIGHT_LOG_OUTPUT, or - for standard input."
        ) from None
