"""The recorder: write entries to the database, find and delete requests, delete old rows.

`remote.py` runs it in a process of its own. Without one it works in the caller's thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from safelight.errors import BadInput, Unusable
from safelight.records.buffer import Pending
from safelight.records.config import StoreConfig
from safelight.records.rows import (
    BadRow,
    DatabaseFailed,
    StoredRequest,
    assessment_row,
    pair_row,
    rating_row,
    request_row,
    sample_row,
    second_row,
)
from safelight.telemetry.counterpart import Counterpart
from safelight.telemetry.record import Record

if TYPE_CHECKING:  # slow to import: the API process never needs them
    from safelight.records.database import Batch, Database


class Recording(Protocol):
    """What the store needs. Every method raises DatabaseFailed or Unusable if there is no database.

    `written` and `lost` count entries; lost ones are invalid.
    """

    def write(self, pending: Pending) -> tuple[int, int]:
        """Write entries in one transaction; return (written, lost)."""

    def tidy(self, now: float) -> bool:
        """Delete rows above the limits at a Unix time. Return whether there are more."""

    def find(self, name: str, owner: str) -> list[StoredRequest]:
        """Return an owner's newest requests with an id or key. Raises InvalidParameter."""

    def forget(self, *request_ids: str) -> None:
        """Delete all rows of some requests. Raises InvalidParameter."""

    def close(self) -> None:
        """Close the database; the next call opens it again."""


class Recorder:
    """Does the work with an open database."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._database: Database | None = None

    def write(self, pending: Pending) -> tuple[int, int]:
        """Write entries, one by one if one is invalid; return (written, lost)."""
        with self._opened() as database:
            rows, invalid = self._rows(database, pending)
            lost = self._write_rows(database, rows) if rows else 0
            return len(rows) - lost, lost + invalid

    def tidy(self, now: float) -> bool:
        """Delete some of the rows above the limits. Return whether there are more."""
        from safelight.records.retention import enforce_limits

        with self._opened() as database:
            return enforce_limits(database, self._config.limits, now)

    def find(self, name: str, owner: str) -> list[StoredRequest]:
        """Return an owner's requests with an id or key, the newest first."""
        with self._opened() as database:
            return database.find(name, owner, self._config.origin.namespace)

    def forget(self, *request_ids: str) -> None:
        """Delete all rows of some requests."""
        with self._opened() as database:
            database.forget(*request_ids)

    def close(self) -> None:
        """Close the database; the next call opens it again."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    @contextmanager
    def _opened(self) -> "Iterator[Database]":
        """Open the database if it is not, and give errors of any database one type."""
        try:
            if self._database is None:
                from safelight.records.database import open_database

                self._database = open_database(self._config.url)
            yield self._database
        except (BadInput, Unusable):
            raise
        except Exception as error:
            from safelight.records.engines import error_text

            raise DatabaseFailed(error_text(error)) from error

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
                if isinstance(content, Counterpart):
                    rows.pairs.append(pair_row(content, at))
                    rows.seconds += [image] if (image := second_row(content)) else []
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
