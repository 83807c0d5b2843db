"""Answers of Prometheus and the records, shared by all viewers: the same question is asked once.

Memory and load are bounded: at most `_KEPT` answers are kept, for some seconds; at most `_AT_ONCE`
questions are asked at a time, and at most `_MOST_WAITING` wait. Nothing is asked for viewers who
left.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from safelight.errors import Overloaded

_KEPT, _FRESH_SECONDS, _AT_ONCE = 500, 5.0, 4
_MOST_WAITING, _RETRY_SECONDS = 100, 5.0
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Question(Generic[Answer]):
    """A question: how many viewers wait for it, and until when its answer is fresh."""

    ask: Callable[[], Answer]
    task: "asyncio.Task[Answer]" = field(init=False)
    viewers: int = 0
    is_asked: bool = False
    fresh_until: float = inf  # what is not answered yet is for every viewer


class Answers(Generic[Answer]):
    """Asks questions in threads of its own, and keeps answers for some seconds.

    Belongs to one event loop. `clock` is in seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, fresh_seconds: float = _FRESH_SECONDS
    ) -> None:
        self.asked = 0
        self.waiting = 0
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "safelight-answers")
        self._kept: OrderedDict[Hashable, _Question[Answer]] = OrderedDict()

    async def of(self, key: Hashable, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a question, which others may have asked.

        A viewer who leaves does not end the question of the others. Raises Overloaded if too many
        questions wait, and what `ask` raises.
        """
        question = self._kept.get(key)
        if question is None or self._clock() > question.fresh_until:
            question = self._begin(key, ask)
        question.viewers += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.viewers -= 1
            if not (question.viewers or question.is_asked):
                self._drop(key, question)

    def _begin(self, key: Hashable, ask: Callable[[], Answer]) -> _Question[Answer]:
        if self.waiting >= _MOST_WAITING:
            raise Overloaded("Too many questions wait for their answers. Wait.", _RETRY_SECONDS)
        self.waiting += 1
        question = self._kept[key] = _Question(ask)
        question.task = asyncio.create_task(self._answer(question))
        question.task.add_done_callback(_seen)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return question

    def _drop(self, key: Hashable, question: _Question[Answer]) -> None:
        """Do not ask a question whose viewers have all left."""
        self.waiting -= 1
        question.task.cancel()
        if self._kept.get(key) is question:
            del self._kept[key]

    async def _answer(self, question: _Question[Answer]) -> Answer:
        async with self._turn:
            question.is_asked = True
            self.waiting -= 1
            self.asked += 1
            loop = asyncio.get_running_loop()
            try:
                return await loop.run_in_executor(self._threads, question.ask)
            finally:
                question.fresh_until = self._clock() + self._fresh_seconds


def _seen(task: "asyncio.Task[Answer]") -> None:
    """Take note of a failure whose viewers have all left, so that Python does not log it."""
    if not task.cancelled():
        task.exception()
