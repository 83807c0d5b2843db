"""A file of API keys that is read again when it changes, so that a key can be revoked at once.

A file that cannot be used changes nothing: the keys that were read last stay valid.
"""

import stat
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import structlog

from safelight.errors import BadSetting
from safelight.serving.http.keys import Key, read
from safelight.settings import environment_name

CHECK_SECONDS = 1.0
LIMIT_BYTES = 256 * 1024
LIMIT_KEYS = 1000  # each request is compared with all of them
Stamp = tuple[int, ...]
log = structlog.get_logger("safelight")


class KeyFile:
    """The keys in a file. Looks at most once a second whether the file is another one."""

    def __init__(
        self, path: Path, failed: Callable[[], None], *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Read the file. Raises BadSetting."""
        self._path = path.expanduser()
        self._failed = failed
        self._clock = clock
        self._error = ""
        try:
            self._stamp = _stamp(self._path)
            self._keys = _read(self._path)
        except (OSError, ValueError) as error:
            raise BadSetting(
                f"{environment_name('api_keys_file')}: {path} cannot be used: {_why(error)}."
            ) from None
        self._due = clock() + CHECK_SECONDS

    def valid(self) -> tuple[Key, ...]:
        """Return the keys that are valid now."""
        now = self._clock()
        if now >= self._due:
            self._due = now + CHECK_SECONDS
            self._look()
        return self._keys

    def _look(self) -> None:
        try:
            stamp = _stamp(self._path)  # before the text is read, so that no later change is missed
            if stamp == self._stamp and not self._error:
                return
            self._keys = _read(self._path)
        except (OSError, ValueError) as error:
            self._note(_why(error))
            return
        self._stamp, self._error = stamp, ""
        log.info("API keys read", **{"safelight.keys": len(self._keys)})

    def _note(self, why: str) -> None:
        """Count each failure; log the first of several equal ones."""
        self._failed()
        if why != self._error:
            self._error = why
            log.error("API keys not read; the earlier ones stay valid", **{"error.message": why})


def _stamp(path: Path) -> Stamp:
    """Return what differs after a change, also after the swap of a link, as Kubernetes does."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would block
        raise ValueError("it is not a file")
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _read(path: Path) -> tuple[Key, ...]:
    with path.open("rb") as file:
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"it has more than {LIMIT_BYTES} bytes")
    keys = read(content.decode("ascii"))
    if len(keys) > LIMIT_KEYS:
        raise ValueError(f"it has more than {LIMIT_KEYS} keys")
    return keys


def _why(error: OSError | ValueError) -> str:
    """Return the reason without the file's content."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not ASCII text"
    return str(error.strerror) if isinstance(error, OSError) else str(error)
