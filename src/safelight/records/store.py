"""Send records to the recorder in one background thread, so that no request waits for it.

The buffer is bounded, failed writes are repeated, and lost entries are counted.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic, time
from typing import TypeVar

import structlog

from safelight.errors import Overloaded, Unusable
from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter
from safelight.records.buffer import Buffer
from safelight.records.config import StoreConfig
from safelight.records.recorder import Recorder, Recording
from safelight.records.rows import Rating, StoredRequest, check_text
from safelight.records.tasks import TaskQueue
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Record

BATCH = 500
_PAUSE_SECONDS = 1.0  # between batches; a crash of the process loses at most this
_DELETE_INTERVAL_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 30.0
_LAST_TRIES = 2  # at the end: a recorder that has ended is started again

Result = TypeVar("Result")
log = structlog.wrap_logger(logging.getLogger("safelight"))  # a watched service's own handlers


class Store:
    """Stores Records, Assessments, Counterparts and Ratings in a database."""

    def __init__(
        self,
        config: StoreConfig,
        meter: Meter,
        recorder: Recording | None = None,
        *,
        clock: Callable[[], float] = time,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` dates what is stored; `timer` measures pauses, and never jumps.

        Without a `recorder`, the store's thread works with the database itself.
        """
        self._config = config
        self._meter = meter
        self._clock = clock
        self._timer = timer
        self._buffer = Buffer(config.capacity)
        self._tasks = TaskQueue()
        self._recorder: Recording = recorder or Recorder(config)
        self._failures = 0
        self._retry_at = self._delete_at = 0.0
        self._ending, self._has_ended = threading.Lock(), False
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="safelight-records", daemon=True)
        meter.start_at_zero(RECORDS)
        self._shown = meter.child(RECORDS_WAITING)
        self._show()

    @property
    def waiting(self) -> int:
        """Return the number of entries that are not written yet."""
        return len(self._buffer)

    def write(self, record: Record) -> None:
        """Add a finished request (a sink of Records). Of many calls its row has the last one."""
        if len(record.calls) > 1:
            record = replace(record, facts=replace(record.facts, calls=record.calls[-1:]))
        self._count_unless(kept=self._buffer.put(self._clock(), record))

    def assess(self, assessment: Assessment) -> None:
        """Add an assessment; without its thumbnails if samples are not stored."""
        if not self._config.samples and (assessment.before or assessment.after):
            assessment = replace(assessment, before=b"", after=b"")
        self._count_unless(kept=self._buffer.assess(self._clock(), assessment))

    def compare(self, counterpart: Counterpart) -> None:
        """Add what a second model made of a request; without its image as in `assess`."""
        if not self._config.samples and counterpart.image:
            counterpart = replace(counterpart, image=b"")
        self._count_unless(kept=self._buffer.compare(self._clock(), counterpart))

    def rate(self, rating: Rating) -> None:
        """Add a rating; it replaces earlier ones of the request. Raises Overloaded if full."""
        if not self._buffer.rate(self._clock(), rating):
            self._meter.add(RECORDS, "refused")
            raise Overloaded(
                f"{self._config.capacity} ratings already wait to be written, which is the limit. "
                f"Send yours again in {_MAX_PAUSE_SECONDS:.0f} seconds. The service's log has the "
                "reason.",
                _MAX_PAUSE_SECONDS,
            )
        self._show()

    def submit(self, task: Callable[[Recording], Result]) -> Future[Result]:
        """Run a task with the recorder in the store's thread; return its future result."""
        future = self._tasks.submit(task)
        self._wake.set()
        return future

    def find(self, name: str, owner: str) -> Future[list[StoredRequest]]:
        """Return this owner's requests with an id or the caller's key, the newest first.

        Raises InvalidParameter.
        """
        check_text("request id", name)
        return self.submit(lambda recorder: recorder.find(name, owner))

    def forget(self, *request_ids: str) -> Future[None]:
        """Delete all data about requests, also from the buffer. Raises InvalidParameter.

        The caller checks whose requests they are.
        """
        for request_id in request_ids:
            check_text("request id", request_id)
        for request_id in request_ids:
            self._buffer.forget(request_id)
        return self.submit(lambda recorder: recorder.forget(*request_ids))

    def start(self) -> None:
        """Start the store's thread."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write the buffer within the time; log and count entries that are lost."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)
        with self._ending:  # a thread that is still writing counts nothing any more
            self._has_ended = True
            lost = self._buffer.drop(ratings=True)
        if lost:
            self._meter.add(RECORDS, "lost", amount=lost)
            log.warning("records lost at shutdown", **{"safelight.records": lost})
        self._show()

    def close(self) -> None:
        """Close the database; the next step opens it again."""
        self._recorder.close()

    def step(self) -> float:
        """Write a batch, run tasks and delete old rows. Return the seconds until the next step."""
        now = self._timer()
        if now < self._retry_at:
            self._tasks.refuse("the database is unavailable")
            return self._retry_at - now
        try:
            more = self._write() >= BATCH
            self._tasks.run(self._recorder)
            more = self._delete_old(now) or more
        except Exception as error:  # noqa: BLE001 - no database error may end the thread
            return self._on_failure(error, now)
        if self._failures:
            log.info("records are written again")
        self._failures = 0
        return 0.0 if more else _PAUSE_SECONDS

    def _count_unless(self, *, kept: bool) -> None:
        if not kept:
            self._meter.add(RECORDS, "lost")
        self._show()

    def _show(self) -> None:
        """Show what waits, at each change: another worker of the server may answer a scrape."""
        self._shown.set(float(self.waiting))

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self.step())
            self._wake.clear()
        for _ in range(_LAST_TRIES):
            self._retry_at = 0.0
            while self.waiting and not self.step():
                pass
        self._tasks.refuse("the service is stopping")
        self.close()

    def _write(self) -> int:
        """Write a batch. Return the number of entries; after an error they stay in the buffer."""
        pending = self._buffer.take(BATCH)
        written = lost = 0
        if pending.entries or pending.ratings:
            written, lost = self._recorder.write(pending)
        with self._ending:
            if not self._has_ended:
                self._meter.add(RECORDS, "written", amount=written)
                self._meter.add(RECORDS, "lost", amount=lost)
            count = self._buffer.done(pending)
        self._show()
        return count

    def _delete_old(self, now: float) -> bool:
        if now < self._delete_at:
            return False
        more = self._recorder.tidy(self._clock())
        self._delete_at = now if more else now + _DELETE_INTERVAL_SECONDS
        return more

    def _on_failure(self, error: Exception, now: float) -> float:
        """Return the pause after a failure. If the database is unusable, drop all but ratings."""
        if not self._failures:
            log.warning("records cannot be written", **{"error.message": str(error)})
        self._failures += 1
        pause = min(_MAX_PAUSE_SECONDS, 2.0 ** min(self._failures - 1, 10))
        if isinstance(error, Unusable):  # newer schema, or missing driver
            self._meter.add(RECORDS, "lost", amount=self._buffer.drop())
            self._show()
            pause = _MAX_PAUSE_SECONDS
        self._tasks.refuse("the database is unavailable")
        self._retry_at = now + pause
        return pause
