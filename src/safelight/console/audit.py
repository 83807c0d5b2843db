"""The audit log: what was done with the console, by whom and when, and how it ended.

Each action is written before and after, so one whose answer was lost is seen as unknown. The log is
bounded: beyond 1 MiB it becomes the older file, and the one before that is lost.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import orjson

from safelight.errors import BadSetting

_LIMIT_BYTES = 1024 * 1024
_SHOWN = 200
_TRIES, _PAUSE_SECONDS = 40, 0.05  # for the lock, which others hold for some milliseconds
_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_END = b"\n"


class Audit:
    """The log in a folder. Several threads, and several consoles, may use it at once."""

    def __init__(self, folder: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        self.path = folder / "audit.jsonl"
        self._older = folder / "audit.1.jsonl"
        self._limit_bytes = limit_bytes

    def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry, and wait until it is on the disk. Raises BadSetting."""
        line = orjson.dumps(entry) + _END
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.path.parent):
                self._rotate(len(line))
                _append(self.path, line)
        except OSError as error:
            raise BadSetting(
                f"The audit log {self.path} cannot be written: {error.strerror or error}. What "
                "nobody could trace is not done. Make room or repair the file, and try again."
            ) from None

    def last(self) -> list[dict[str, object]]:
        """Return the last entries, newest first; of each id the last one. Raises BadSetting.

        Lines that are damaged are left out.
        """
        entries: dict[str, dict[str, object]] = {}
        for path in (self._older, self.path):
            for line in self._content(path).split(_END):
                with suppress(orjson.JSONDecodeError):
                    entry = orjson.loads(line)
                    if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                        entries[entry["id"]] = entry
        return list(entries.values())[: -_SHOWN - 1 : -1]

    def _content(self, path: Path) -> bytes:
        """Return the end of a file, so much as the log may have. A FIFO would never end."""
        try:
            if path.exists() and not path.is_file():
                raise BadSetting(f"The audit log {path} cannot be read: it is not a plain file.")
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - self._limit_bytes))
                return file.read(self._limit_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            why = error.strerror or str(error)
            raise BadSetting(f"The audit log {path} cannot be read: {why}.") from None

    def _rotate(self, more_bytes: int) -> None:
        with suppress(FileNotFoundError):
            if self.path.is_file() and self.path.stat().st_size + more_bytes > self._limit_bytes:
                self.path.replace(self._older)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder's log. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)  # and unlock


def _lock(descriptor: int) -> None:
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        Event().wait(_PAUSE_SECONDS)
    raise OSError(errno.EBUSY, "another console holds its lock")


def _append(path: Path, line: bytes) -> None:
    """Append a line as a whole or not at all. Raises OSError."""
    descriptor = os.open(path, _FLAGS, _MODE)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        os.fchmod(descriptor, _MODE)
        size = found.st_size
        if size and os.pread(descriptor, 1, size - 1) != _END:
            line = _END + line  # the line before was torn
        _write(descriptor, line, size)
    finally:
        os.close(descriptor)


def _write(descriptor: int, line: bytes, size: int) -> None:
    """Write a line at the end of a file that has so many bytes. Raises OSError."""
    written = 0
    try:
        written = os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        if written != len(line):
            os.ftruncate(descriptor, size)
    if written != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
