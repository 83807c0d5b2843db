"""A job that the processes of a group do in turn: one does it, and leaves its notes to the next."""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from safelight.metrics.processes.membership import Membership

_POLL_SECONDS = 0.02


@dataclass(slots=True)
class Turn:
    """One turn. Who has it reads the notes of the turn before, and writes those for the next."""

    notes: bytes = b""


class Turns:
    """The turns of one job. A process without a group keeps its notes to itself. Thread-safe."""

    def __init__(self, membership: Membership, name: str) -> None:
        self._membership = membership
        self._name = name
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock, self._own = os.getpid(), threading.Lock(), Turn()
        self._shared = False

    @contextmanager
    def take(self, wait_seconds: float = 0.0) -> Iterator[Turn | None]:
        """Hold the turn; None if another process or thread has it for all of the time.

        It is also None before the first request of a worker, which does not know yet with whom it
        counts, and after a worker has left its counts to the others.
        """
        if self._pid != os.getpid():
            self._begin()  # forked: the lock and the notes are those of the parent process
        ends = monotonic() + wait_seconds
        with ExitStack() as held:
            if not self._lock.acquire(timeout=wait_seconds):
                yield None
                return
            held.callback(self._lock.release)
            path = self._membership.file(self._name)
            if path is None:
                alone = not (self._shared or self._membership.is_worker)
                yield self._own if alone else None
                return
            self._shared = True
            file = held.enter_context(path.with_suffix(".lock").open("ab"))
            if not _lock(file, ends):
                yield None
                return
            turn = Turn(path.read_bytes() if path.exists() else b"")
            try:
                yield turn
            finally:
                _replace(path, turn.notes)


def _lock(file: IO[bytes], ends: float) -> bool:
    import fcntl  # here: Windows has neither this nor groups

    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if monotonic() >= ends:
                return False
            select.select([], [], [], _POLL_SECONDS)
        else:
            return True


def _replace(path: Path, notes: bytes) -> None:
    written = path.with_suffix(".next")
    written.write_bytes(notes)
    os.replace(written, path)
