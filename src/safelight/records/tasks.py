"""What others want of the database: done by the thread that holds it, answered by a future."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from safelight.errors import RecordsUnusable

if TYPE_CHECKING:  # heavy: loaded by the thread that writes
    from safelight.records.database import Database

MOST_ERRANDS = 100
Answer = TypeVar("Answer")


class Errands:
    """A bounded queue of questions to the database."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[[Database], Any], Future[Any]]] = deque()

    def ask(self, errand: Callable[["Database"], Answer]) -> "Future[Answer]":
        """Have something done soon. What it raises is the future's; too many are refused."""
        answer: Future[Answer] = Future()
        if len(self._waiting) >= MOST_ERRANDS:
            answer.set_exception(_refused("too many ask at once"))
        else:
            self._waiting.append((errand, answer))
        return answer

    def run(self, database: "Database") -> None:
        """Do all that was asked. Raises what the database raised; the rest waits."""
        while self._waiting:
            errand, answer = self._waiting.popleft()
            if not answer.set_running_or_notify_cancel():
                continue  # nobody waits for it any more
            try:
                answer.set_result(errand(database))
            except Exception as error:
                answer.set_exception(error)
                raise

    def refuse(self, reason: str) -> None:
        """Answer all that was asked with RecordsUnusable."""
        while self._waiting:
            _, answer = self._waiting.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_exception(_refused(reason))


def _refused(reason: str) -> RecordsUnusable:
    return RecordsUnusable(f"The records cannot be asked now: {reason}. Try again shortly.")
