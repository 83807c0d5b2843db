"""The file with the counts of one process: its owner writes it, other processes read it."""

import errno
import fcntl
import mmap
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.metrics.processes.folder import VALUES, is_locked, start_of
from safelight.metrics.processes.layout import SIZE

if TYPE_CHECKING:
    Numbers = memoryview[float]

# Numbers that belong to the process.
ADDRESS, CPU_SECONDS = 0, 1
_BYTES = 8 * SIZE


class Member:
    """The file of this process; it is locked as long as it is open."""

    def __init__(self, folder: Path) -> None:
        pid = os.getpid()
        self.name = f"{pid}-{start_of(pid)}"
        path = folder / f"{self.name}.new"
        # Never open it again: to close any descriptor of a file releases its lock.
        self._file = path.open("wb+", buffering=0)
        try:
            _fill(self._file)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._map = mmap.mmap(self._file.fileno(), _BYTES)
            path.rename(folder / f"{self.name}{VALUES}")  # complete: now others may look
        except OSError:
            self._file.close()
            path.unlink(missing_ok=True)
            raise
        self.cells: Numbers = memoryview(self._map).cast("d")

    def close(self) -> None:
        """Release the lock. The values stay in the file."""
        self._file.close()


def _fill(file: FileIO) -> None:
    """Take all of the room now: on a full disk, a later write into memory would end the process."""
    if file.write(bytes(_BYTES)) < _BYTES:
        raise OSError(errno.ENOSPC, f"There is no room for {_BYTES} bytes", str(file.name))


@dataclass(frozen=True, slots=True)
class Seen:
    """The file of another process, at one moment."""

    name: str
    pid: int
    alive: bool
    cells: "Numbers"

    @property
    def address(self) -> float:
        """Return the address that the process serves, or 0 if it is not known yet."""
        return self.cells[ADDRESS]


def numbers(cells: "Numbers", end: int) -> list[float]:
    """Return a copy of the first numbers of a file."""
    copied: list[Any] = cells[:end].tolist()
    return copied


def look(path: Path) -> Seen:
    """Return the file of another process. Raises FileNotFoundError."""
    with path.open("rb+") as file:
        alive = is_locked(file.fileno())
        cells = memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("d")
    return Seen(path.stem, int(path.stem.partition("-")[0]), alive, cells)
