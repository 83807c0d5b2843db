"""Bound what failed requests write: a caller must not fill the log or push records out."""

import logging
from collections.abc import Callable
from time import monotonic

import structlog

from safelight.telemetry.record import Record

PER_SECOND = 20
_LOGGED = "failed requests were not logged one by one"
log = structlog.wrap_logger(logging.getLogger("safelight"))  # a watched service's own handlers


class Refusals:
    """Admits so many failed requests of each reason in a second; metrics count all of them."""

    def __init__(self, clock: Callable[[], float] = monotonic, *, told: str = _LOGGED) -> None:
        """`told` is the log line about the requests that were not admitted."""
        self._told = told
        self._clock = clock
        self._seconds: dict[str, tuple[int, int]] = {}  # by reason: the second, requests in it

    def admits(self, record: Record) -> bool:
        """Return whether to log a request; those that succeeded are always logged."""
        if record.succeeded:
            return True
        second = int(self._clock())
        last, number = self._seconds.get(record.error, (second, 0))
        if last != second:
            if number > PER_SECOND:
                self._tell(record.error, number - PER_SECOND)
            number = 0
        self._seconds[record.error] = second, number + 1
        return number < PER_SECOND

    def _tell(self, reason: str, number: int) -> None:
        log.warning(self._told, **{"error.type": reason, "safelight.requests": number})
