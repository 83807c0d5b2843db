"""A job of low priority waits long, but not for ever."""

from itertools import count, pairwise
from typing import Any

from safelight.serving.engine.aging import Aging
from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import Priority
from tests.serving.jobs import a_job

NOBODY: Any = None  # no one awaits these answers
TIMEOUT_SECONDS = 120.0


class Line:
    """A queue of one caller, from which a device takes a job a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.backlog = Backlog()
        self.aging = Aging(self.backlog)
        self.numbers = count(1)

    def come(self, priority: Priority) -> QueueEntry:
        number = next(self.numbers)
        job = a_job(str(number), priority=priority, deadline=self.now + TIMEOUT_SECONDS)
        entry = QueueEntry(job, number, NOBODY, arrived_at=self.now)
        self.backlog.push(entry)
        return entry

    def second(self) -> QueueEntry:
        """Let a second pass, and return the job that is taken."""
        self.now += 1
        self.aging.update(self.now)
        (taken,) = self.backlog.take(self.backlog.heads()[0].lane, 1)
        return taken

    def flooded(self, seconds: int, priority: Priority = "high") -> list[QueueEntry]:
        """Let a job of a higher priority come each second; return what is taken."""
        taken = []
        for _ in range(seconds):
            self.come(priority)
            taken.append(self.second())
        return taken


def test_a_low_job_is_served_before_newer_high_ones_once_it_waited_half_of_its_time() -> None:
    line = Line()
    low = line.come("low")
    taken = line.flooded(100)

    assert taken.index(low) == TIMEOUT_SECONDS / 2 - 1
    newer = [entry for entry in line.backlog if entry.job.priority == "high"]
    assert all(entry.number > low.number for entry in newer)


def test_a_normal_job_ages_too() -> None:
    line = Line()
    normal = line.come("normal")
    assert normal in line.flooded(61)


def test_at_most_one_job_in_five_overtakes() -> None:
    line = Line()
    low = [line.come("low") for _ in range(40)]
    taken = line.flooded(400)

    places = [place for place, entry in enumerate(taken) if entry in low]
    assert len(places) == 40
    assert min(b - a for a, b in pairwise(places)) >= 5


def test_before_half_of_its_time_a_low_job_waits_for_all_higher_ones() -> None:
    line = Line()
    low = line.come("low")
    assert low not in line.flooded(59)
    assert not low.job.control.aged


def test_jobs_that_nobody_overtook_do_not_use_up_the_share() -> None:
    line = Line()
    for _ in range(80):
        line.come("low")
    for _ in range(70):  # they are old, and each one's turn comes in its order
        line.second()
    assert not any(entry.job.control.aged for entry in line.backlog)


def test_a_job_of_high_priority_does_not_age() -> None:
    line = Line()
    high = line.come("high")
    line.now = TIMEOUT_SECONDS
    for entry in (line.come("high"), high):
        entry.job.control.turn = int(entry is high)
    line.backlog.reorder()
    line.aging.update(line.now)

    assert not high.job.control.aged


def test_a_job_that_has_aged_counts_as_of_its_turn_and_not_before_earlier_turns() -> None:
    aged, other, earlier = (a_job(name, priority="low") for name in "abc")
    aged.control.turn = other.control.turn = 5
    aged.control.aged = True
    earlier.control.turn = 4
    high = a_job("high", priority="high")
    high.control.turn = 5

    assert earlier.rank <= aged.rank < high.rank < other.rank
