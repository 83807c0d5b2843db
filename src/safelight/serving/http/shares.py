"""Bound how much of one kind of work each caller has at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from safelight.errors import Overloaded

_RETRY_SECONDS = 1.0


class Shares:
    """The work in progress, by caller. `what` names it in the plural, for the message."""

    def __init__(self, per_caller: int, what: str) -> None:
        self._per_caller = per_caller
        self._what = what
        self._numbers: Counter[str] = Counter()

    def check(self, owner: str) -> None:
        """Raise Overloaded if the caller has no more places."""
        if self._numbers.get(owner, 0) >= self._per_caller:
            raise Overloaded(
                f"You have {self._per_caller} {self._what} at once, which is the limit for one "
                "caller. End some, or retry in a second.",
                _RETRY_SECONDS,
            )

    @contextmanager
    def held(self, owner: str) -> Iterator[None]:
        """Count one piece of work until the block ends."""
        self._numbers[owner] += 1
        try:
            yield
        finally:
            self._numbers[owner] -= 1
            if not self._numbers[owner]:
                del self._numbers[owner]
