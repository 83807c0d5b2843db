"""Where jobs that are prepared wait for the model.

The next batch is put together at the last moment, when the model is free: nothing waits for a batch
to fill while the device idles.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from safelight.serving.worker.choice import Batch, Prepared, choose
from safelight.serving.worker.pacing import Pace


class Stage:
    """Holds prepared jobs until the model takes them. Any thread may put, cancel or close."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.pace = Pace()
        self._idle_seconds = 0.0
        self._changed = threading.Condition()
        self._jobs: dict[str, Prepared] = {}
        self._known: set[str] = set()
        self._cancelled: set[str] = set()
        self._closed = False
        self._waited_for = False
        self._reader_leads = True
        self._preparing = 0  # elsewhere, by threads that wake nobody who listens

    def expect(self, job_id: str) -> None:
        """Know of a job before it is prepared, so that it can be cancelled."""
        with self._changed:
            self._known.add(job_id)

    def knows(self, job_id: str) -> bool:
        """Tell whether the job was not answered yet."""
        return job_id in self._known

    def put(self, jobs: list[Prepared], *, by_reader: bool = False) -> None:
        """Add jobs that are ready; a reader that finds the model waiting gives it the lead."""
        with self._changed:
            self._jobs.update((job.id, job) for job in jobs)
            if by_reader and self._waited_for and not self._preparing:
                self._reader_leads = False
            self._changed.notify_all()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Until the block ends, leave the listening to the reader: a job comes from elsewhere."""
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1

    def prepare(self) -> None:
        """Announce that a job is about to be prepared by another thread, in `preparing`."""
        with self._changed:
            self._preparing += 1
            self._reader_leads = True
            self._changed.notify_all()

    def cancel(self, job_id: str) -> Prepared | None:
        """Return the job if it was still here; else have the model stop at its next step."""
        with self._changed:
            if job_id in self._known:  # what comes after the answer is for nobody
                self._cancelled.add(job_id)
            return self._jobs.pop(job_id, None)

    def cancelled(self, job_id: str) -> bool:
        """Tell whether nobody waits for the job any more."""
        return self._closed or job_id in self._cancelled

    def has_work(self) -> bool:
        """Tell whether jobs wait here for the model."""
        return bool(self._jobs)

    def forget(self, job_id: str) -> None:
        """Forget a job that was answered."""
        with self._changed:
            self._known.discard(job_id)
            self._cancelled.discard(job_id)

    def lead(self, *, reader: bool) -> None:
        """Say who listens to the parent from now on: the reader's thread, or the model's."""
        with self._changed:
            self._reader_leads = reader
            self._changed.notify_all()

    def model_leads(self) -> bool:
        """Tell whether the model's thread must listen itself, because it has nothing else to do."""
        with self._changed:
            return not (self._reader_leads or self._preparing or self._jobs or self._closed)

    def reader_may_listen(self) -> bool:
        """Wait until the reader leads; False once closed."""
        with self._changed:
            while not (self._reader_leads or self._closed):
                self._changed.wait()
            return not self._closed

    def take(self) -> Batch | None:
        """Wait for the next batch; None once closed."""
        with self._changed:
            began = self.clock()
            while not self._jobs and not self._closed:
                self._waited_for = True
                self._changed.wait()
                self._waited_for = False
            if self._closed:
                return None
            self.pace.idled(self._idle_seconds + self.clock() - began)
            self._idle_seconds = 0.0
            self._linger()
            batch = choose(list(self._jobs.values()), self.clock(), self.pace.limit)
            for job in (*batch.jobs, *batch.late):
                del self._jobs[job.id]
            return batch

    def _linger(self) -> None:
        """Wait awhile, where it pays, for callers who were just answered and may ask again."""
        head = min(self._jobs.values(), key=lambda job: job.urgency)
        here, now = len(self._jobs), self.clock()
        wanted = min(1 if head.alone else head.cap, here + self.pace.last_number)
        # Never at the cost of one who is here already.
        spare = min(job.due - now - sum(job.cost) for job in self._jobs.values())
        if here >= wanted or spare <= 0:
            return
        seconds = min(self.pace.linger_seconds(head.cost[0]), spare)
        if not seconds:
            return
        self._reader_leads = True  # or nobody would hear of those we wait for
        self._changed.notify_all()
        end = now + seconds
        while len(self._jobs) < wanted and not self._closed and (left := end - self.clock()) > 0:
            self._changed.wait(left)
        self.pace.lingered(came=len(self._jobs) - here)

    def idle(self, seconds: float) -> None:
        """Note that the model's thread had nothing to do so long, other than in `take`."""
        self._idle_seconds += seconds

    def close(self) -> None:
        """Have `take` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
