"""Queue of tasks for the recorder, which the store's thread runs."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from safelight.errors import BadInput, RecordsUnusable
from safelight.records.recorder import Recording
from safelight.records.rows import DatabaseFailed

MAX_TASKS = 100
Result = TypeVar("Result")


class TaskQueue:
    """A bounded queue of functions that receive the recorder."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[Recording], Any], Future[Any]]] = deque()

    def submit(self, task: Callable[[Recording], Result]) -> "Future[Result]":
        """Add a task and return its future, which fails if the queue is full."""
        future: Future[Result] = Future()
        if len(self._waiting) >= MAX_TASKS:
            future.set_exception(_refusal("too many tasks are waiting"))
        else:
            self._waiting.append((task, future))
        return future

    def run(self, recorder: Recording) -> None:
        """Run all tasks. Raises the first database error; the other tasks stay in the queue."""
        while self._waiting:
            task, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task(recorder))
            except BadInput as error:  # the caller's error: the database works
                future.set_exception(error)
            except DatabaseFailed:
                future.set_exception(_refusal("the database is unavailable"))
                raise
            except Exception as error:
                future.set_exception(error)
                raise

    def refuse(self, reason: str) -> None:
        """Fail all waiting tasks with RecordsUnusable."""
        while self._waiting:
            _, future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                future.set_exception(_refusal(reason))


def _refusal(reason: str) -> RecordsUnusable:
    return RecordsUnusable(f"The records cannot be queried now: {reason}. Try again shortly.")
