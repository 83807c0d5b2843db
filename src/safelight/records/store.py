"""Write records to the database in one background thread, so that no request waits for it.

The buffer is bounded, failed writes are repeated, and lost entries are counted.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from time import monotonic, time
from typing import TYPE_CHECKING, TypeVar

import structlog

from safelight.errors import Overloaded, Unusable
from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter
from safelight.records.buffer import Buffer, Pending
from safelight.records.config import StoreConfig
from safelight.records.rows import (
    BadRow,
    Rating,
    assessment_row,
    check_text,
    rating_row,
    request_row,
    sample_row,
)
from safelight.records.tasks import TaskQueue
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import Record

if TYPE_CHECKING:  # slow to import: only the writer thread does so
    from safelight.records.database import Batch, Database, StoredRequest

BATCH = 500
_PAUSE_SECONDS = 1.0  # between batches; a crash of the process loses at most this
_DELETE_INTERVAL_SECONDS = 60.0
_MAX_PAUSE_SECONDS = 30.0

Result = TypeVar("Result")
log = structlog.get_logger("safelight")


class Store:
    """Stores Records, Assessments and Ratings in a database."""

    def __init__(
        self,
        config: StoreConfig,
        meter: Meter,
        *,
        clock: Callable[[], float] = time,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` dates what is stored; `timer` measures pauses, and never jumps."""
        self._config = config
        self._meter = meter
        self._clock = clock
        self._timer = timer
        self._buffer = Buffer(config.capacity)
        self._tasks = TaskQueue()
        self._database: Database | None = None
        self._failures = 0
        self._retry_at = self._delete_at = 0.0
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="safelight-records", daemon=True)
        meter.start_at_zero(RECORDS)
        meter.before_expose(lambda: meter.set(RECORDS_WAITING, value=float(self.waiting)))

    @property
    def waiting(self) -> int:
        """Return the number of entries that are not written yet."""
        return len(self._buffer)

    def write(self, record: Record) -> None:
        """Add a finished request (a sink of Records)."""
        self._count_unless(kept=self._buffer.put(self._clock(), record))

    def assess(self, assessment: Assessment) -> None:
        """Add an assessment; without its thumbnails if samples are not stored."""
        if not self._config.samples and (assessment.before or assessment.after):
            assessment = replace(assessment, before=b"", after=b"")
        self._count_unless(kept=self._buffer.assess(self._clock(), assessment))

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

    def submit(self, task: Callable[["Database"], Result]) -> "Future[Result]":
        """Run a task with the database in the writer thread; return its future result."""
        future = self._tasks.submit(task)
        self._wake.set()
        return future

    def find(self, name: str, owner: str) -> "Future[list[StoredRequest]]":
        """Return this owner's requests with an id or the caller's key, the newest first.

        Raises InvalidParameter.
        """
        check_text("request id", name)
        namespace = self._config.origin.namespace
        return self.submit(lambda database: database.find(name, owner, namespace))

    def forget(self, *request_ids: str) -> "Future[None]":
        """Delete all data about requests, also from the buffer. Raises InvalidParameter.

        The caller checks whose requests they are.
        """
        for request_id in request_ids:
            check_text("request id", request_id)
        for request_id in request_ids:
            self._buffer.forget(request_id)
        return self.submit(lambda database: database.forget(*request_ids))

    def start(self) -> None:
        """Start the writer thread."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write the buffer within the time; log and count entries that are lost."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)
        if lost := self.waiting:
            self._meter.add(RECORDS, "lost", amount=lost)
            log.warning("records lost at shutdown", **{"safelight.records": lost})

    def close(self) -> None:
        """Close the database; the next step opens it again."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def step(self) -> float:
        """Write a batch, run tasks and delete old rows. Return the seconds until the next step."""
        now = self._timer()
        if now < self._retry_at:
            self._tasks.refuse("the database is unavailable")
            return self._retry_at - now
        try:
            database = self._open()
            more = self._write(database) >= BATCH
            self._tasks.run(database)
            more = self._delete_old(database, now) or more
        except Exception as error:  # noqa: BLE001 - no database error may end the thread
            return self._on_failure(error, now)
        if self._failures:
            log.info("records are written again")
        self._failures = 0
        return 0.0 if more else _PAUSE_SECONDS

    def _count_unless(self, *, kept: bool) -> None:
        if not kept:
            self._meter.add(RECORDS, "lost")

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self.step())
            self._wake.clear()
        self._retry_at = 0.0
        while self.waiting and not self.step():
            pass
        self._tasks.refuse("the service is stopping")
        self.close()

    def _open(self) -> "Database":
        if self._database is None:
            from safelight.records.database import open_database

            self._database = open_database(self._config.url)
        return self._database

    def _write(self, database: "Database") -> int:
        """Write a batch. Return the number of entries; after an error they stay in the buffer."""
        pending = self._buffer.take(BATCH)
        rows, invalid = self._rows(database, pending)
        lost = self._write_rows(database, rows) if rows else 0
        self._meter.add(RECORDS, "written", amount=len(rows) - lost)
        self._meter.add(RECORDS, "lost", amount=lost + invalid)
        return self._buffer.done(pending)

    def _rows(self, database: "Database", pending: Pending) -> "tuple[Batch, int]":
        """Return the pending entries as rows, and the number of invalid entries."""
        from safelight.records.database import Batch

        rows, invalid = Batch(), 0
        for at, content in pending.entries:
            try:
                if isinstance(content, Record):
                    row = request_row(content, at, self._config.origin, database.salt)
                    rows.requests.append(row)
                    continue
                rows.assessments.append(assessment_row(content, at))
                rows.samples += [sample] if (sample := sample_row(content, at)) else []
            except Exception:  # noqa: BLE001 - an object that is not a valid Record
                invalid += 1
        rows.ratings = [rating_row(rating, at) for at, rating in pending.ratings.values()]
        return rows, invalid

    def _write_rows(self, database: "Database", rows: "Batch") -> int:
        """Write rows, one by one if one is invalid. Return the number of invalid rows."""
        samples, lost = self._config.limits.samples_per_type, 0
        try:
            database.write(rows, samples)
        except BadRow:
            for single in rows.singles():
                try:
                    database.write(single, samples)
                except BadRow:
                    lost += len(single)
        return lost

    def _delete_old(self, database: "Database", now: float) -> bool:
        if now < self._delete_at:
            return False
        from safelight.records.retention import enforce_limits

        more = enforce_limits(database, self._config.limits, self._clock())
        self._delete_at = now if more else now + _DELETE_INTERVAL_SECONDS
        return more

    def _on_failure(self, error: Exception, now: float) -> float:
        """Return the pause after a failure. If the database is unusable, drop all but ratings."""
        from safelight.records.engines import error_text

        if not self._failures:
            log.warning("records cannot be written", **{"error.message": error_text(error)})
        self._failures += 1
        pause = min(_MAX_PAUSE_SECONDS, 2.0 ** min(self._failures - 1, 10))
        if isinstance(error, Unusable):  # newer schema, or missing driver
            self._meter.add(RECORDS, "lost", amount=self._buffer.drop())
            pause = _MAX_PAUSE_SECONDS
        self._tasks.refuse("the database is unavailable")
        self._retry_at = now + pause
        return pause
