"""Write a backup file under another name first, and seal it, so that damage is found.

The seal is in two fields of SQLite's header that are free for applications: its application id
names the file as ours, and its user version is the CRC-32 of all other bytes.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

from safelight.errors import BadSetting

_SQLITE = b"SQLite format 3\0"
_SUM, _ID, _HEADER = slice(60, 64), slice(68, 72), 100
_OURS = b"SLBK"
_CHUNK = 1024 * 1024


@contextmanager
def written_aside(file: Path) -> Iterator[Path]:
    """Yield a new file that only the user can read; it gets its name when the block succeeds.

    Raises BadSetting if it cannot be written.
    """
    with write_errors(file):
        descriptor, name = tempfile.mkstemp(".partial", f".{file.name}.", file.parent)
        os.close(descriptor)
    aside = Path(name)
    try:
        yield aside
        with write_errors(file):
            _seal(aside)
            aside.replace(file)
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def write_errors(file: Path) -> Iterator[None]:
    """Turn an error of the operating system into one line. Raises BadSetting."""
    try:
        yield
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror or error}.") from None


def has_mark(file: Path) -> bool:
    """Return whether a file says that it is a backup. It may be damaged."""
    try:
        with file.open("rb") as content:
            head = content.read(_HEADER)
    except OSError:
        return False
    return head.startswith(_SQLITE) and head[_ID] == _OURS


def remove_seal(file: Path) -> None:
    """Make a database of a copy of a backup, which may then be changed."""
    with file.open("r+b") as content:
        for field in (_SUM, _ID):
            content.seek(field.start)
            content.write(bytes(field.stop - field.start))


def check_seal(file: Path) -> None:
    """Raise BadSetting if a file is no backup, or was changed after it was written."""
    try:
        with file.open("rb") as content:
            head = content.read(_HEADER)
        if not head.startswith(_SQLITE) or head[_ID] != _OURS:
            raise BadSetting(
                f"{file} is not a backup of records. Name a file of: safelight records backup."
            )
        intact = head[_SUM] == _checksum(file)
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}.") from None
    if not intact:
        raise BadSetting(
            f"{file} is damaged: its checksum is wrong. Copy it again from where you keep it, or "
            "use an older backup."
        )


def _seal(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(_ID.start)
        content.write(_OURS)
        content.flush()
        checksum = _checksum(file)
        content.seek(_SUM.start)
        content.write(checksum)
        content.flush()
        os.fsync(content.fileno())


def _checksum(file: Path) -> bytes:
    """Return the checksum of a file without the field that holds it."""
    with file.open("rb") as content:
        head = content.read(_HEADER)
        total = crc32(head[_SUM.stop :], crc32(head[: _SUM.start]))
        while chunk := content.read(_CHUNK):
            total = crc32(chunk, total)
    return total.to_bytes(4, "big")
