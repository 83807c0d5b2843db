"""Keep a failing probe from failing the request: count each failure, log the first."""

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

Given = TypeVar("Given")
log = logging.getLogger(__name__)


class Guard:
    """A context manager that suppresses every Exception of its block."""

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
        """Suppress and report an Exception; let KeyboardInterrupt and SystemExit pass."""
        if isinstance(error, Exception):
            self.report(error)
            return True
        return False

    def call_each(self, functions: Sequence[Callable[[Given], object]], argument: Given) -> None:
        """Call each function; one that fails is reported. Cheaper than a block for each."""
        for function in functions:
            try:
                function(argument)
            except Exception as error:  # noqa: BLE001 - the next one is called still
                self.report(error)

    def report(self, error: Exception) -> None:
        """Count a failure and log the first. Called directly by code that catches by itself."""
        self._count(self._probe)
        if not self._logged:
            self._logged = True
            log.error("The %s probe failed; the request continues.", self._probe, exc_info=error)
