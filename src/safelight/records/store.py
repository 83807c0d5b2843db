"""Takes what is to be remembered off the answer's path: bounded, tried again, counted when lost.

One thread opens the database, writes in batches and deletes what is too old. Whatever happens to
the database, a request never waits for it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from time import time
from typing import TYPE_CHECKING, TypeVar

import structlog

from safelight.errors import Overloaded, Unusable
from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter
from safelight.records.buffer import Buffer, Taken
from safelight.records.config import Plan
from safelight.records.rows import Rating, assessment_row, rating_row, request_row, sample_row
from safelight.records.tasks import Errands
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import Record

if TYPE_CHECKING:  # heavy: loaded by the thread that writes
    from safelight.records.database import Batch, Database, Found

BATCH = 500
_PAUSE_SECONDS = 1.0  # between two batches: what a crash of this process can cost at most
_TIDY_SECONDS = 60.0
_MOST_PAUSE_SECONDS = 30.0

Answer = TypeVar("Answer")
log = structlog.get_logger("safelight")


class Store:
    """Remembers Records, Assessments and Ratings in the database of a plan."""

    def __init__(self, plan: Plan, meter: Meter, *, clock: Callable[[], float] = time) -> None:
        self._plan = plan
        self._meter = meter
        self._clock = clock
        self._buffer = Buffer(plan.most)
        self._errands = Errands()
        self._database: Database | None = None
        self._failures = 0
        self._again = self._tidy_at = 0.0
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="safelight-records", daemon=True)
        meter.start_at_zero(RECORDS)
        meter.before_expose(lambda: meter.set(RECORDS_WAITING, value=float(self.waiting)))

    @property
    def waiting(self) -> int:
        """Return how many entries are not written yet."""
        return len(self._buffer)

    def write(self, record: Record) -> None:
        """Remember a finished request: the sink of Records."""
        self._count_unless(kept=self._buffer.put(self._clock(), record))

    def assess(self, assessment: Assessment) -> None:
        """Remember what was found of an output; its thumbnails only where samples are kept."""
        if not self._plan.samples and (assessment.before or assessment.after):
            assessment = replace(assessment, before=b"", after=b"")
        self._count_unless(kept=self._buffer.assess(self._clock(), assessment))

    def rate(self, rating: Rating) -> None:
        """Remember a rating; of several of one request, the last.

        Raises Overloaded where there is no room: its caller waits to hear what becomes of it.
        """
        if not self._buffer.rate(self._clock(), rating):
            self._meter.add(RECORDS, "refused")
            raise Overloaded(
                f"{self._plan.most} ratings wait to be written, and no more may. Send yours again "
                f"in {_MOST_PAUSE_SECONDS:.0f} seconds; the service's log says why they wait.",
                _MOST_PAUSE_SECONDS,
            )

    def ask(self, errand: Callable[["Database"], Answer]) -> "Future[Answer]":
        """Have the thread do something with the database soon; the future tells what came of it."""
        answer = self._errands.ask(errand)
        self._wake.set()
        return answer

    def find(self, request_id: str, owner: str) -> "Future[Found | None]":
        """Return a request of this service that was this owner's, or None."""
        return self.ask(lambda base: base.find(request_id, owner, self._plan.origin.namespace))

    def forget(self, request_id: str) -> "Future[None]":
        """Delete all that is known of a request, what waits to be written too."""
        self._buffer.forget(request_id)
        return self.ask(lambda database: database.forget(request_id))

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits, if that can be done in time; the rest is lost, and the log says so."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)
        if left := self.waiting:
            self._meter.add(RECORDS, "lost", amount=left)
            log.warning("records lost at the end", **{"safelight.records": left})

    def close(self) -> None:
        """Let go of the database; the next step would open it anew."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def step(self) -> float:
        """Do what is due; return the seconds until there may be more to do."""
        now = self._clock()
        if now < self._again:
            self._errands.refuse("the database is out of reach")
            return self._again - now
        try:
            database = self._opened()
            more = self._write(database) >= BATCH
            self._errands.run(database)
            more = self._tidy(database, now) or more
        except Exception as error:  # noqa: BLE001 - whatever a database raises, requests go on
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
        self._again = 0.0
        while self.waiting and not self.step():
            pass
        self._errands.refuse("the service is stopping")
        self.close()

    def _opened(self) -> "Database":
        if self._database is None:
            from safelight.records.database import open_database

            self._database = open_database(self._plan.url)
        return self._database

    def _write(self, database: "Database") -> int:
        """Write a batch; what could not be written stays in hand, for the next try."""
        taken = self._buffer.take(BATCH)
        rows, unreadable = self._rows(database, taken)
        lost = self._written(database, rows) if rows else 0
        self._meter.add(RECORDS, "written", amount=len(rows) - lost)
        self._meter.add(RECORDS, "lost", amount=lost + unreadable)
        return self._buffer.done(taken)

    def _rows(self, database: "Database", taken: Taken) -> "tuple[Batch, int]":
        """Return what was taken as rows, and how much of it could not be made one."""
        from safelight.records.database import Batch

        rows, unreadable = Batch(), 0
        for at, what in taken.entries:
            try:
                if isinstance(what, Record):
                    row = request_row(what, at, self._plan.origin, database.salt)
                    rows.requests.append(row)
                    continue
                rows.assessments.append(assessment_row(what, at))
                rows.samples += [sample] if (sample := sample_row(what, at)) else []
            except Exception:  # noqa: BLE001 - somebody else's sink gave us what is no Record
                unreadable += 1
        rows.ratings = [rating_row(rating, at) for at, rating in taken.ratings.values()]
        return rows, unreadable

    def _written(self, database: "Database", rows: "Batch") -> int:
        """Write rows, one by one where one of them is at fault; return how many could not be."""
        from safelight.records.database import BadData

        most, lost = self._plan.limits.samples_per_type, 0
        try:
            database.write(rows, most)
        except BadData:
            for single in rows.singles():
                try:
                    database.write(single, most)
                except BadData:
                    lost += len(single)
        return lost

    def _tidy(self, database: "Database", now: float) -> bool:
        if now < self._tidy_at:
            return False
        from safelight.records.retention import tidy

        more = tidy(database, self._plan.limits, now)
        self._tidy_at = now if more else now + _TIDY_SECONDS
        return more

    def _on_failure(self, error: Exception, now: float) -> float:
        """Leave the database alone for a while; where it is of no use, all but ratings is lost."""
        from safelight.records.engines import why

        if not self._failures:
            log.warning("records cannot be written", **{"error.message": why(error)})
        self._failures += 1
        pause = min(_MOST_PAUSE_SECONDS, 2.0 ** min(self._failures - 1, 10))
        if isinstance(error, Unusable):  # of a newer schema, without its driver
            self._meter.add(RECORDS, "lost", amount=self._buffer.drop())
            pause = _MOST_PAUSE_SECONDS
        self._errands.refuse("the database is out of reach")
        self._again = now + pause
        return pause
