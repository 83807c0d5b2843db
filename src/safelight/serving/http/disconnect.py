"""Call a function when the caller of a request disconnects before the response."""

import asyncio
from collections.abc import Callable

from fastapi import Request

from safelight.serving.timers import Timers

# A response that comes sooner is not worth a task that watches the connection.
_DELAY_SECONDS = 0.1


class DisconnectWatch:
    """Watches one request's connection, once the response takes more than a moment."""

    def __init__(self, request: Request, timers: Timers, leave: Callable[[], None]) -> None:
        self._request = request
        self._leave = leave
        self._task: asyncio.Task[None] | None = None
        now = asyncio.get_running_loop().time()
        self._timer = timers.at(now + _DELAY_SECONDS, self._begin)

    def end(self) -> None:
        """Stop watching: the response is ready."""
        self._timer.cancel()
        task, self._task = self._task, None  # it refers to the watch, and so to the request
        if task is not None:
            task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._leave()
