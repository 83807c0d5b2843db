"""Keeps a probe's own failure from becoming the request's: logged once, counted every time."""

import logging
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)


class Guard:
    """A context manager that lets no Exception of its block out."""

    __slots__ = ("_count", "_logged", "_probe")

    def __init__(self, probe: str, count: Callable[[str], None]) -> None:
        self._probe = probe
        self._count = count
        self._logged = False

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Swallow an Exception; let KeyboardInterrupt and the like through."""
        if isinstance(error, Exception):
            self.note(error)
            return True
        return False

    def note(self, error: Exception) -> None:
        """Log and count a failure; for hot paths, which catch for themselves."""
        self._count(self._probe)
        if not self._logged:
            self._logged = True
            log.error("The %s probe failed; the request goes on.", self._probe, exc_info=error)
