"""The log files of the programs of a stack: private, and bounded in size together.

A program writes to its file itself, also while nothing reads it. So a file is not renamed but
copied and emptied; what a program writes between these two may be lost.
"""

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_TAIL_BYTES = 64 * 1024


class Logs:
    """One file for each program, and the one before it. Together they have `limit_bytes`."""

    def __init__(self, folder: Path, names: Collection[str], limit_bytes: int) -> None:
        self.folder = folder
        self._files = [folder / f"{name}.log" for name in names]
        self._limit_bytes = limit_bytes // (2 * len(self._files))

    def prepare(self) -> None:
        """Begin with empty files."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        for file in self._files:
            _before(file).unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(b"")

    def rotate(self) -> None:
        """Empty the files that are too large."""
        for file in self._files:
            with suppress(OSError):  # removed by its user; the program goes on without it
                if file.stat().st_size > self._limit_bytes:
                    self._rotate(file)

    def _rotate(self, file: Path) -> None:
        """Keep the end of a file as the one before it. On a full disk nothing is kept."""
        before = _before(file)
        before.unlink(missing_ok=True)  # its space may be needed
        try:
            before.touch(mode=0o600)
            with file.open("rb") as source, before.open("wb") as target:
                source.seek(max(0, os.fstat(source.fileno()).st_size - self._limit_bytes))
                source.readline()  # the rest of a line
                shutil.copyfileobj(source, target)
        except OSError:
            before.unlink(missing_ok=True)
        os.truncate(file, 0)  # the program appends, so it goes on at the new end


def last_line(file: Path) -> str:
    """Return the last line of a log that says something; `no output` if none does."""
    for part in (file, _before(file)):
        with suppress(OSError), part.open("rb") as log:
            log.seek(max(0, part.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
            if said := [line.strip() for line in lines if line.strip()]:
                return said[-1]
    return "no output"


def _before(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")
