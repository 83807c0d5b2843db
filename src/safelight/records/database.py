"""A database of records: opens it, brings its tables up to date, writes, finds and deletes.

Only the thread that writes records and the command line come here: it loads heavy libraries.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, inspect, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from safelight.errors import RecordsUnusable
from safelight.records.engines import engine_of, shown, why
from safelight.records.rows import Row, owner_hash
from safelight.records.schema import (
    ABOUT_REQUESTS,
    ASSESSMENTS,
    INSTALLATION,
    METADATA,
    RATINGS,
    REQUESTS,
    SAMPLES,
    VERSION,
    VERSIONS,
)

_OF_VALUES = (DataError, IntegrityError)
_SQLITES = (sqlite3.InterfaceError, sqlite3.ProgrammingError)  # a value that it cannot bind
_MIGRATION_LOCK = 0x5AFE_1167  # any number, the same for all services of one server


@dataclass(slots=True)
class Batch:
    """Rows to be written together, or not at all."""

    requests: list[Row] = field(default_factory=list)
    assessments: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    ratings: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.requests) + len(self.assessments) + len(self.ratings)

    def singles(self) -> Iterator["Batch"]:
        """Yield each row as a batch of its own."""
        yield from (Batch(requests=[row]) for row in self.requests)
        yield from (Batch(assessments=[row]) for row in self.assessments)
        yield from (Batch(samples=[row]) for row in self.samples)
        yield from (Batch(ratings=[row]) for row in self.ratings)


@dataclass(frozen=True, slots=True)
class Found:
    """A request that the records know: of which type it was, and how it is rated so far."""

    instruction_type: str
    at: float
    answered: bool
    rating: int | None


class BadData(Exception):
    """A row is at fault, not the database: to try again would be in vain."""


class Database:
    """An open database whose tables are those of this version."""

    def __init__(self, engine: Engine, salt: str) -> None:
        self.engine = engine
        self.salt = salt

    @property
    def is_sqlite(self) -> bool:
        """Tell which of the two databases it is."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def write(self, batch: Batch, samples_per_type: int) -> None:
        """Write a batch; what was written before is left, so that a second try does no harm.

        Raises BadData where a row is at fault, else what SQLAlchemy raises.
        """
        with _blaming_data(), self.engine.begin() as connection:
            self._add(connection, REQUESTS, batch.requests)
            self._add(connection, ASSESSMENTS, batch.assessments)
            self._add(connection, SAMPLES, batch.samples)
            self._add(connection, RATINGS, batch.ratings, replacing=("at", "rating", "reason"))
            for kind, failed in {(r["instruction_type"], r["failed"]) for r in batch.samples}:
                _keep_newest(connection, kind, samples_per_type, failed=failed)

    def find(self, request_id: str, owner: str, namespace: str) -> Found | None:
        """Return a service's request that was this owner's; of nobody else's is anything told."""
        good = REQUESTS.c.status_code < 400  # whoever got a picture may rate it
        columns = (REQUESTS.c.instruction_type, REQUESTS.c.at, good, RATINGS.c.rating)
        joined = REQUESTS.outerjoin(RATINGS, RATINGS.c.request_id == REQUESTS.c.request_id)
        wanted = (
            select(*columns)
            .select_from(joined)
            .where(
                REQUESTS.c.request_id == request_id,
                REQUESTS.c.owner_hash == owner_hash(owner, self.salt),
                REQUESTS.c.namespace == namespace,
            )
        )
        with self.engine.connect() as connection:
            row = connection.execute(wanted).first()
        return Found(*row) if row else None

    def forget(self, request_id: str) -> None:
        """Delete all that is known of a request."""
        with self.engine.begin() as connection:
            for about in ABOUT_REQUESTS:
                connection.execute(delete(about).where(about.c.request_id == request_id))
        self._overwrite_log()

    def _overwrite_log(self) -> None:
        """Leave nothing that was deleted in SQLite's write-ahead log."""
        if not self.is_sqlite:
            return
        raw = self.engine.raw_connection()  # outside any transaction, as SQLite wants it
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            raw.close()

    def _add(
        self, connection: Connection, into: Any, rows: Sequence[Row], replacing: Iterable[str] = ()
    ) -> None:
        if not rows:
            return
        added = self._insert(into)
        new = {name: added.excluded[name] for name in replacing}
        key = [into.c.request_id]
        kept = (
            added.on_conflict_do_update(index_elements=key, set_=new)
            if new
            else added.on_conflict_do_nothing(index_elements=key)
        )
        connection.execute(kept, rows)

    def _insert(self, into: Any) -> Any:
        """Return an INSERT in the database's own words; the other's are not even loaded: 2 MB."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(into)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(into)


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Open a database; its tables are made, or brought up to date, if they may be.

    Raises RecordsUnusable for one of a newer version, or one that is not there or not up to date
    where it must not be touched; MissingExtra; what SQLAlchemy raises.
    """
    engine = engine_of(url, writing=migrate)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql" and migrate:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            _bring_up_to_date(connection, migrate=migrate)
            return Database(engine, _salt(connection))
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what a database raises into RecordsUnusable, in one line and without a password."""
    try:
        yield
    except BrokenPipeError:  # who reads what we print has gone: not the database's fault
        raise
    except (SQLAlchemyError, OSError) as error:
        raise RecordsUnusable(
            f"The records at {shown(url)} cannot be used: {why(error)}. "
            "Mend the database, or name another: SAFELIGHT_RECORDS_URL."
        ) from None


@contextmanager
def _blaming_data() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        of_values = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
        if of_values or isinstance(error, _OF_VALUES) or isinstance(error.__cause__, _SQLITES):
            raise BadData(why(error)) from None
        raise


def _bring_up_to_date(connection: Connection, *, migrate: bool) -> None:
    new = not inspect(connection).has_table(VERSION.name)
    there = set() if new else set(connection.execute(select(VERSION.c.version_num)).scalars())
    if unknown := sorted(there - set(VERSIONS)):
        raise RecordsUnusable(
            f"The records are of a newer Safelight (schema {', '.join(unknown)[:60]}; the newest "
            f"known here is {VERSIONS[-1]}). Upgrade Safelight, or name other records: "
            "SAFELIGHT_RECORDS_URL."
        )
    if there == {VERSIONS[-1]}:
        return
    if not migrate:
        raise RecordsUnusable("The records are of an older schema. Run: safelight records upgrade")
    if new:
        _make_tables(connection)
        return
    from safelight.records.migrate import upgrade  # 8 MB that few starts need

    upgrade(connection)


def _make_tables(connection: Connection) -> None:
    """Make the newest tables at once, as all the migrations together would."""
    METADATA.create_all(connection, checkfirst=False)
    VERSION.create(connection)
    connection.execute(insert(VERSION).values(version_num=VERSIONS[-1]))


def _salt(connection: Connection) -> str:
    """Return the installation's salt; the first to open the database draws it."""
    found = connection.execute(select(INSTALLATION.c.salt)).scalar()
    if found is None:
        found = secrets.token_hex(32)
        connection.execute(insert(INSTALLATION).values(id=1, salt=found))
    return str(found)


def _keep_newest(connection: Connection, kind: str, most: int, *, failed: bool) -> None:
    of_kind = (SAMPLES.c.instruction_type == kind, SAMPLES.c.failed == failed)
    newest = select(SAMPLES.c.request_id).where(*of_kind).order_by(SAMPLES.c.at.desc()).limit(most)
    connection.execute(
        delete(SAMPLES).where(*of_kind, SAMPLES.c.request_id.not_in(newest.scalar_subquery()))
    )
