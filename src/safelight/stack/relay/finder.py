"""Add the first finding of a diagnosis to a notice, without delaying it for long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from safelight.stack.relay.notice import Notice, with_finding

LIMIT_SECONDS = 5.0
_AT_ONCE = 2  # a slow Prometheus must not fill the process with threads

log = structlog.get_logger("safelight")


class Finder:
    """Finds what is wrong with the job of a notice. Without `diagnose` it finds nothing."""

    def __init__(
        self, diagnose: Callable[[str], str] | None, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._diagnose = diagnose
        self._limit_seconds = limit_seconds
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="diagnosis")
        self._running = 0

    async def explain(self, notice: Notice) -> Notice:
        """Return the notice with the finding, or unchanged if there is none in time."""
        busy = self._running >= _AT_ONCE
        if self._diagnose is None or not notice.firing or not notice.job or busy:
            return notice
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, self._diagnose, notice.job
        )
        self._running += 1
        future.add_done_callback(self._ended)
        try:
            found = await asyncio.wait_for(asyncio.shield(future), self._limit_seconds)
        except Exception as error:  # noqa: BLE001 - the page is more important than the finding
            log.warning("no diagnosis for a notification", **{"error.type": type(error).__name__})
            return notice
        return with_finding(notice, found)

    def _ended(self, future: asyncio.Future[str]) -> None:
        self._running -= 1
        if not future.cancelled():
            future.exception()  # read, so that asyncio does not log it again
