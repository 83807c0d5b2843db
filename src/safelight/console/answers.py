"""Answers of Prometheus and the records, shared by all viewers: the same question is asked once.

Memory and load are bounded: at most `_KEPT` answers are kept, for some seconds, and at most
`_AT_ONCE` questions are asked at a time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

_KEPT, _FRESH_SECONDS, _AT_ONCE = 500, 5.0, 4
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Answer]):
    task: "asyncio.Task[Answer]"
    asked_at: float


class Answers(Generic[Answer]):
    """Asks questions in threads, and keeps answers for some seconds. Belongs to one event loop."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, fresh_seconds: float = _FRESH_SECONDS
    ) -> None:
        self.asked = 0
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[Hashable, _Kept[Answer]] = OrderedDict()

    async def of(self, key: Hashable, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a question, which others may have asked. Raises what `ask` raises.

        A viewer who leaves does not end the question of the others.
        """
        kept = self._kept.get(key)
        if kept is None or self._clock() - kept.asked_at > self._fresh_seconds:
            task = asyncio.create_task(self._ask(ask))
            task.add_done_callback(_seen)
            kept = self._kept[key] = _Kept(task, self._clock())
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return await asyncio.shield(kept.task)

    async def _ask(self, ask: Callable[[], Answer]) -> Answer:
        async with self._turn:
            self.asked += 1
            return await asyncio.to_thread(ask)


def _seen(task: "asyncio.Task[Answer]") -> None:
    """Take note of a failure whose viewers have all left, so that Python does not log it."""
    if not task.cancelled():
        task.exception()
