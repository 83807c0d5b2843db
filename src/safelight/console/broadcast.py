"""One reader, many viewers: the overview is read once, and every viewer gets the same bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from safelight.errors import Overloaded

_MOST_VIEWERS, _RETRY_SECONDS = 100, 30.0


class Broadcast:
    """Reads again and again while somebody listens. Belongs to one event loop.

    A viewer who is slower than the reader misses what was overtaken; nothing piles up.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], every_seconds: float) -> None:
        self.readings = 0
        self.viewers = 0
        self._read = read
        self._every_seconds = every_seconds
        self._latest = b""
        self._changed = asyncio.Condition()
        self._hurried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hurry(self) -> None:
        """Read again now: there is something new. Call it in the event loop's thread."""
        self._hurried.set()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Count a viewer until the end of the block. Raises Overloaded if there are too many."""
        if self.viewers >= _MOST_VIEWERS:
            raise Overloaded("The console has too many open pages. Close some.", _RETRY_SECONDS)
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1

    async def listen(self) -> AsyncIterator[bytes]:
        """Yield each reading from now on, to a viewer who has a seat."""
        seen = self.readings
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="safelight-broadcast")
        elif self._latest:
            seen -= 1  # begin with what the others see; what nobody looked at is too old
        while True:
            async with self._changed:
                while self.readings <= seen:
                    await self._changed.wait()
                seen = self.readings
            yield self._latest

    async def _run(self) -> None:
        while self.viewers:
            latest = await self._read()
            async with self._changed:
                self._latest, self.readings = latest, self.readings + 1
                self._changed.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), self._every_seconds)
            self._hurried.clear()
