"""Aging: a job that has waited for half of its time overtakes newer ones of higher priority.

At most one job in five overtakes, so higher priorities keep most of the device.
"""

from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.queue_entry import QueueEntry

_WAITED_SHARE = 0.5  # of the time from a job's arrival to its deadline
_OVERTAKING_SHARE = 0.2  # of the jobs that leave the queue


class Aging:
    """Lets old jobs overtake in a backlog. `update` is called once a second."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._taken = 0
        self._credit = 1.0  # jobs that may overtake now

    def update(self, now: float) -> None:
        """Put the oldest overtaken jobs first; `now` is on the event loop's clock."""
        earned = _OVERTAKING_SHARE * (self._backlog.taken - self._taken)
        self._taken = self._backlog.taken
        self._credit = min(self._credit + earned, max(1.0, earned))
        if self._credit < 1 or not any(_is_old(entry, now) for entry in self._backlog):
            return
        chosen = self._overtaken(now)[: int(self._credit)]
        self._credit -= len(chosen)
        for entry in chosen:
            entry.job.control.aged = True
        if chosen:
            self._backlog.reorder()

    def _overtaken(self, now: float) -> list[QueueEntry]:
        """Return the old jobs that newer ones are ahead of, the oldest first."""
        overtaken: list[QueueEntry] = []
        newest = 0
        for entry in sorted(self._backlog):
            if entry.number < newest and _is_old(entry, now):
                overtaken.append(entry)
            newest = max(newest, entry.number)
        return sorted(overtaken, key=lambda entry: entry.number)


def _is_old(entry: QueueEntry, now: float) -> bool:
    if entry.job.control.aged or entry.job.priority == "high":
        return False
    return now - entry.arrived_at >= _WAITED_SHARE * (entry.job.deadline - entry.arrived_at)
