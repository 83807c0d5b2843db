"""Hold decoded jobs, and form a batch when the model is free.

No job waits for a batch to fill while the device is idle, except for the short wait that
`pacing.py` decides.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from safelight.serving.worker.choice import Batch, Prepared, choose
from safelight.serving.worker.pacing import Pacing


class Stage:
    """Holds prepared jobs until the model takes them. Any thread may put, cancel or close.

    Two threads can read the channel: the reader and, while it has nothing else to do, the model's
    thread. `lead` decides which one reads.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.pacing = Pacing()
        self._idle_seconds = 0.0
        self._changed = threading.Condition()
        self._jobs: dict[str, Prepared] = {}
        self._known: set[str] = set()
        self._cancelled: set[str] = set()
        self._closed = False
        self._model_waits = False
        self._reader_leads = True
        self._preparing = 0  # jobs that other threads prepare

    def expect(self, job_id: str) -> None:
        """Register a job before it is prepared, so that it can be cancelled."""
        with self._changed:
            self._known.add(job_id)

    def expects(self, job_id: str) -> bool:
        """Return whether the job has no result yet."""
        return job_id in self._known

    def put(self, jobs: list[Prepared], *, by_reader: bool = False) -> None:
        """Add prepared jobs. If the model waits, the reader hands the reading over to it."""
        with self._changed:
            self._jobs.update((job.id, job) for job in jobs)
            if by_reader and self._model_waits and not self._preparing:
                self._reader_leads = False
            self._changed.notify_all()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Keep the reading with the reader until the block ends: another thread prepares a job."""
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1

    def prepare(self) -> None:
        """Announce that another thread will prepare a job, inside `preparing`."""
        with self._changed:
            self._preparing += 1
            self._reader_leads = True
            self._changed.notify_all()

    def cancel(self, job_id: str) -> Prepared | None:
        """Remove and return the job if it waits; else make the model stop at its next step."""
        with self._changed:
            if job_id in self._known:  # a job with a result cannot be cancelled
                self._cancelled.add(job_id)
            return self._jobs.pop(job_id, None)

    def cancelled(self, job_id: str) -> bool:
        """Return whether no caller waits for the job."""
        return self._closed or job_id in self._cancelled

    def has_work(self) -> bool:
        """Return whether jobs wait for the model."""
        return bool(self._jobs)

    def forget(self, job_id: str) -> None:
        """Forget a job that has a result."""
        with self._changed:
            self._known.discard(job_id)
            self._cancelled.discard(job_id)

    def lead(self, *, reader: bool) -> None:
        """Choose who reads the channel from now on: the reader thread, or the model's."""
        with self._changed:
            self._reader_leads = reader
            self._changed.notify_all()

    def model_leads(self) -> bool:
        """Return whether the model's thread must read the channel, because it has no jobs."""
        with self._changed:
            return not (self._reader_leads or self._preparing or self._jobs or self._closed)

    def reader_may_listen(self) -> bool:
        """Wait until the reader leads; return False once closed."""
        with self._changed:
            while not (self._reader_leads or self._closed):
                self._changed.wait()
            return not self._closed

    def take(self) -> Batch | None:
        """Wait for the next batch and return it; None once closed."""
        with self._changed:
            started_at = self.clock()
            while not self._jobs and not self._closed:
                self._model_waits = True
                self._changed.wait()
                self._model_waits = False
            if self._closed:
                return None
            self.pacing.idled(self._idle_seconds + self.clock() - started_at)
            self._idle_seconds = 0.0
            self._linger()
            batch = choose(list(self._jobs.values()), self.clock(), self.pacing.limit)
            for job in (*batch.jobs, *batch.late):
                del self._jobs[job.id]
            return batch

    def _linger(self) -> None:
        """Wait briefly, if it pays, for callers who just got a response and may send again."""
        head = min(self._jobs.values(), key=lambda job: job.urgency)
        count, now = len(self._jobs), self.clock()
        target = min(1 if head.alone else head.cap, count + self.pacing.last_size)
        # Never so long that a job which is already here misses its deadline.
        spare = min(self._spare(job, head) for job in self._jobs.values()) - now
        if count >= target or spare <= 0:
            return
        seconds = min(self.pacing.linger_seconds(head.cost[0]), spare)
        if not seconds:
            return
        self._reader_leads = True  # else no thread would read the jobs that this waits for
        self._changed.notify_all()
        end = now + seconds
        while (
            len(self._jobs) < target and not self._closed and (remaining := end - self.clock()) > 0
        ):
            self._changed.wait(remaining)
        self.pacing.lingered(arrivals=len(self._jobs) - count)

    def _spare(self, job: Prepared, head: Prepared) -> float:
        """Return when the next batch must begin at the latest, so that a job is in time.

        The batch has the jobs that are here, and one that arrives. A job of another key follows it.
        """
        a, b = head.cost
        number = sum(other.key == head.key for other in self._jobs.values())
        own = 0.0 if job.key == head.key else sum(job.cost)
        return job.due - own - a - b * min(head.cap, number + 1)

    def idle(self, seconds: float) -> None:
        """Add time in which the model's thread was idle outside `take`."""
        self._idle_seconds += seconds

    def close(self) -> None:
        """Make `take` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
