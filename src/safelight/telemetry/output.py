"""Where log lines go: standard error, standard output, or a file of bounded size.

The processes of a service append to one file, each line in one call of the system. The process
that fills it renames it; the others notice, and open the new one. A pipe, a terminal or a device is
never renamed.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path
from time import monotonic
from typing import Protocol

from safelight.errors import BadSetting
from safelight.settings import Settings

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_SHARED = 0o644  # a shipper runs as another user; a line contains nothing private
_PRIVATE = 0o600  # a line may contain a prompt
_LOOK_SECONDS = 1.0


class Output(Protocol):
    """Takes log lines."""

    def write(self, line: str) -> None:
        """Write a line. Raises OSError or ValueError if it is lost."""

    @property
    def is_terminal(self) -> bool:
        """Return whether a person reads the lines at once."""


class Stream:
    """Standard error or standard output, whatever it is at the moment."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_terminal(self) -> bool:
        """Return whether it is a terminal."""
        return bool(getattr(sys, self._name).isatty())

    def write(self, line: str) -> None:
        """Write a line at once."""
        stream = getattr(sys, self._name)
        stream.write(f"{line}\n")
        stream.flush()


class LogFile:
    """A file that is renamed when it is full; `kept` earlier ones are kept.

    It has no lock: its caller writes one line at a time.
    """

    is_terminal = False

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        kept: int,
        clock: Callable[[], float] = monotonic,
        *,
        is_private: bool = False,
    ) -> None:
        """Open the file; only its user reads one that `is_private`.

        Raises OSError if it cannot be written.
        """
        self._path = path
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._clock = clock
        self._is_private = is_private
        self._file = self._opened()
        self._is_regular = _is_regular(self._file)
        self._is_torn = self._is_regular and self._ends_inside_a_line()
        self._looked_at = clock()

    @property
    def is_bounded(self) -> bool:
        """Return whether the file can be renamed when it is full, if it ever is."""
        return not self._is_regular or os.access(self._path.parent, os.W_OK | os.X_OK)

    def write(self, line: str) -> None:
        """Append a line. Raises OSError if the disk takes none, or only a part of it."""
        data = f"{line}\n".encode("utf-8", "replace")
        if self._clock() - self._looked_at >= _LOOK_SECONDS:
            self._look()
        if self._is_torn:  # part of a line is there: the next one does not continue it
            data = b"\n" + data
        written = os.write(self._file, data)
        if written < len(data):
            self._is_torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_torn = False
        if self._is_regular and os.lseek(self._file, 0, os.SEEK_CUR) >= self._limit_bytes:
            self._rotate()

    def _look(self) -> None:
        """Open the file again if it was renamed or removed."""
        self._looked_at = self._clock()
        if not self._is_current():
            with suppress(OSError):  # the lines go on to the old one
                self._open()

    def _is_current(self) -> bool:
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def _rotate(self) -> None:
        """Rename the file unless another process did, and begin the next one.

        If that fails, or another process is about to, the lines go on to this one, and the next
        line tries again.
        """
        with suppress(OSError):
            flock(self._file, LOCK_EX | LOCK_NB)
            try:
                if self._is_current():
                    self._rename()
            finally:
                flock(self._file, LOCK_UN)
            self._open()

    def _rename(self) -> None:
        for number in range(self._kept, 1, -1):
            with suppress(FileNotFoundError):
                self._earlier(number - 1).replace(self._earlier(number))
        self._path.replace(self._earlier(1))

    def _earlier(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> None:
        new = self._opened()
        # A finalizer may log at any point: the file that it finds is open.
        old, self._file, self._is_torn = self._file, new, False
        self._is_regular = _is_regular(new)
        os.close(old)

    def _ends_inside_a_line(self) -> bool:
        """Return whether the process before ended in the middle of a line, as on a full disk.

        A file that still grows has a line that another process is about to finish.
        """
        with suppress(OSError), self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"", b"\n") and file.seek(0, os.SEEK_END) == size
        return False

    def _opened(self) -> int:
        """Return the file. A new one gets its mode whatever the umask of the service is."""
        mode = _PRIVATE if self._is_private else _SHARED
        try:
            file, is_new = os.open(self._path, _FLAGS | os.O_EXCL, mode), True
        except FileExistsError:
            file, is_new = os.open(self._path, _FLAGS, mode), False
        if is_new or (self._is_private and _is_regular(file)):
            with suppress(OSError):  # of another user, or on a disk without modes
                os.fchmod(file, mode)
        return file


def _is_regular(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)


def _resolved(name: str) -> Path:
    """Return the path of the file itself: to rename a link to it would not make it shorter.

    What is no regular file keeps its name, because a link to a pipe leads to no path.
    """
    path = Path(name).absolute()
    is_special = path.exists() and not path.is_file()
    return path if is_special else Path(os.path.realpath(path))


def output_of(settings: Settings) -> Output:
    """Return where the lines of a service go. Raises BadSetting if a file cannot be written."""
    name = settings.log_output
    if name in ("stderr", "stdout"):
        return Stream(name)
    try:
        file = LogFile(
            _resolved(name),
            settings.log_file_bytes,
            settings.log_files,
            is_private=settings.log_private,
        )
    except OSError as error:
        raise BadSetting(
            f"SAFELIGHT_LOG_OUTPUT: {name[:200]} cannot be written: {error.strerror}. Name a file "
            "in a folder that the service can write to, or stderr or stdout."
        ) from None
    if not file.is_bounded:
        raise BadSetting(
            f"SAFELIGHT_LOG_OUTPUT: {name[:200]} could not be renamed when it is full, so it would "
            "grow without a limit. Let the service write to its folder, or name another one."
        )
    return file
