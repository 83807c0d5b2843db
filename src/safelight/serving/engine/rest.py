"""When a service rests: no request waited or ran for a while, so a copy may begin."""

import asyncio
from collections.abc import Callable
from time import monotonic

from safelight.guard.gaps import Gaps
from safelight.serving.job import Job

_SECONDS = 0.2  # without a request: requests often follow each other
_POLL_SECONDS = 0.02
_MANY = 10  # copies that found no rest, for a statement about the service


class Rest:
    """Waits for the rest of one service, and counts what found none. `idle`: no request runs."""

    def __init__(self, idle: Callable[[], bool], clock: Callable[[], float] = monotonic) -> None:
        self.seconds = _SECONDS
        self.clock = clock
        self.is_wanted = False
        self.missed = 0  # copies that found no rest
        self._idle = idle
        self._busy_at = clock()
        self._gaps = Gaps()

    def arrived(self) -> None:
        """Note a request."""
        self.answered()
        self._gaps.arrived(self._busy_at)

    def answered(self) -> None:
        """Note that a request was there until now."""
        self._busy_at = self.clock()

    def fits(self, job: Job, seconds: float) -> bool:
        """Return whether requests would seldom wait for a copy of so many seconds.

        A request stops a copy at its next step, so this matters only for one without steps.
        """
        return job.steps > 0 or self._gaps.is_short(seconds)

    async def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait until the service rests, or nobody waits for that any more."""
        self.is_wanted = True
        try:
            while not is_over() and (left := self._left()) > 0:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(min(max(left, _POLL_SECONDS), _SECONDS))
        finally:
            self.is_wanted = False

    def _left(self) -> float:
        """Return the seconds until it rests, if no request comes."""
        now = self.clock()
        if not self._idle():
            self._busy_at = now
            return max(self.seconds, _POLL_SECONDS)
        return self._busy_at + self.seconds - now

    def note(self, compared: int) -> str:
        """Return why there are so few pairs; empty if there are not."""
        if self.missed < _MANY or self.missed <= compared:
            return ""
        return "Most copies were stopped or dropped: the service is never idle long enough."
