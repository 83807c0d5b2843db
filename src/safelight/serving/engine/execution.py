"""Control a job in the engine: stop the job, follow its steps, find its queue position."""

from typing import Protocol

from safelight.errors import SafelightError
from safelight.serving.engine.queue_entry import QueueEntry


class Engine(Protocol):
    """The engine that runs the job."""

    def stop(self, entry: QueueEntry, error: SafelightError) -> None:
        """Make a job fail with `error`, and free what it holds."""

    def position(self, entry: QueueEntry) -> int:
        """Return how many waiting jobs are more urgent."""


class Execution:
    """Connects one job to its engine."""

    __slots__ = ("_engine", "_entry")

    def __init__(self, engine: Engine, entry: QueueEntry) -> None:
        self._engine = engine
        self._entry = entry

    def stop(self, error: SafelightError) -> None:
        """Make the job fail with `error`."""
        self._engine.stop(self._entry, error)

    def follow(self) -> None:
        """Report every step of the job from now on."""
        if self._entry.holder is not None:
            self._entry.holder.follow(self._entry)

    def position(self) -> int:
        """Return how many waiting jobs are more urgent than this one."""
        return self._engine.position(self._entry)
