"""The records database: open, migrate, write, find and delete.

Only the recorder and the command line import this module: SQLAlchemy is slow to import.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, Connection, Engine, Table, delete, insert, inspect, or_, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from safelight.errors import RecordsUnusable
from safelight.records.engines import as_json, error_text, open_engine, safe_url
from safelight.records.keeping import add_seconds, keep_newest, of_records
from safelight.records.rows import BadRow, Row, StoredRequest, Value, check_text, owner_hash
from safelight.records.schema import (
    ABOUT_REQUESTS,
    ASSESSMENTS,
    INSTALLATION,
    METADATA,
    PAIRS,
    RATINGS,
    REQUESTS,
    SAMPLES,
    VERSION,
    VERSIONS,
)

_DATA_ERRORS = (DataError, IntegrityError)
_SQLITE_DATA_ERRORS = (sqlite3.InterfaceError, sqlite3.ProgrammingError)  # value cannot be bound
_FOUND = 500  # requests with one key at once
_MIGRATION_LOCK = 0x5AFE_1167  # arbitrary, but the same for all services of one server


@dataclass(slots=True)
class Batch:
    """Rows that are written in one transaction."""

    requests: list[Row] = field(default_factory=list)
    assessments: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    ratings: list[Row] = field(default_factory=list)
    pairs: list[Row] = field(default_factory=list)
    seconds: list[Row] = field(default_factory=list)  # images for samples

    def __len__(self) -> int:
        counts = (self.requests, self.assessments, self.ratings, self.pairs)
        return sum(map(len, counts))

    def singles(self) -> Iterator["Batch"]:
        """Yield each row as its own batch."""
        yield from (Batch(requests=[row]) for row in self.requests)
        yield from (Batch(assessments=[row]) for row in self.assessments)
        yield from (Batch(samples=[row]) for row in self.samples)
        yield from (Batch(ratings=[row]) for row in self.ratings)
        yield from (Batch(pairs=[row]) for row in self.pairs)
        yield from (Batch(seconds=[row]) for row in self.seconds)


class Database:
    """An open database with the tables of this version."""

    def __init__(self, engine: Engine, salt: str) -> None:
        self.engine = engine
        self.salt = salt

    @property
    def is_sqlite(self) -> bool:
        """Return True for SQLite, False for PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def write(self, batch: Batch, samples_per_type: int) -> None:
        """Write a batch. Existing rows are kept, so that a batch can be written twice.

        Raises BadRow if a row is invalid, else SQLAlchemyError.
        """
        with _detect_bad_rows(), self.engine.begin() as connection:
            self._add(connection, REQUESTS, batch.requests)
            self._add(connection, ASSESSMENTS, batch.assessments)
            self._add(connection, SAMPLES, batch.samples)
            self._add(connection, RATINGS, batch.ratings, replacing=("at", "rating", "reason"))
            for kind, failed in {(r["instruction_type"], r["failed"]) for r in batch.samples}:
                keep_newest(connection, str(kind), samples_per_type, failed=bool(failed))
            self._add(connection, PAIRS, of_records(connection, batch.pairs))
            add_seconds(connection, batch.seconds)

    def find(self, name: str, owner: str, namespace: str) -> list[StoredRequest]:
        """Return this owner's newest requests with an id or the caller's key, a limited number.

        Raises InvalidParameter.
        """
        own = REQUESTS.c
        columns = (own.request_id, own.instruction_type, own.at, own.status_code < 400)
        is_named = or_(own.request_id == check_text("request id", name), own.caller_key == name)
        joined = REQUESTS.outerjoin(RATINGS, RATINGS.c.request_id == REQUESTS.c.request_id)
        query = (
            select(*columns, RATINGS.c.rating)
            .select_from(joined)
            .where(
                is_named, own.owner_hash == owner_hash(owner, self.salt), own.namespace == namespace
            )
            .order_by(own.at.desc())
            .limit(_FOUND)
        )
        with self.engine.connect() as connection:
            return [StoredRequest(*row) for row in connection.execute(query)]

    def forget(self, *request_ids: str) -> None:
        """Delete all rows of some requests. Raises InvalidParameter."""
        ids = [check_text("request id", request_id) for request_id in request_ids]
        with self.engine.begin() as connection:
            for table in ABOUT_REQUESTS:
                connection.execute(delete(table).where(table.c.request_id.in_(ids)))
        self._truncate_log()

    def _truncate_log(self) -> None:
        """Remove deleted rows also from SQLite's write-ahead log."""
        if not self.is_sqlite:
            return
        raw = self.engine.raw_connection()  # SQLite requires that no transaction is open
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            raw.close()

    def _add(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Row],
        replacing: Iterable[str] = (),
    ) -> None:
        if not rows:
            return
        if self.is_sqlite and not replacing:
            connection.exec_driver_sql(*_plain_insert(table, rows))
            return
        statement = self._insert(table)
        updates = {name: statement.excluded[name] for name in replacing}
        key = [table.c.request_id]
        upsert = (
            statement.on_conflict_do_update(index_elements=key, set_=updates)
            if updates
            else statement.on_conflict_do_nothing(index_elements=key)
        )
        connection.execute(upsert, rows)

    def _insert(self, table: Table) -> Any:
        """Return an INSERT of the database's dialect. Each dialect takes 2 MB when imported."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)


def open_database(url: str, *, migrate: bool = True) -> Database:
    """Open a database; with `migrate` create or upgrade its tables.

    Raises RecordsUnusable if the schema is newer, or if the database is missing or outdated and
    `migrate` is False; MissingExtra; SQLAlchemyError.
    """
    engine = open_engine(url, writing=migrate)
    try:
        with engine.begin() as connection:
            prepare_tables(connection, migrate=migrate)
            return Database(engine, _salt(connection))
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Turn database errors into RecordsUnusable, with one line and without the password."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output has ended: no database error
        raise
    except (SQLAlchemyError, OSError) as error:
        raise RecordsUnusable(
            f"The records at {safe_url(url)} cannot be used: {error_text(error)}. "
            "Repair the database, or set another: SAFELIGHT_RECORDS_URL."
        ) from None


@contextmanager
def _detect_bad_rows() -> Iterator[None]:
    """Raise BadRow if a value is the cause of a database error."""
    try:
        yield
    except (ArithmeticError, TypeError, ValueError) as error:  # an integer of 65 bits, for example
        raise BadRow(type(error).__name__) from None
    except SQLAlchemyError as error:
        is_value = isinstance(error, StatementError) and not isinstance(error, DBAPIError)
        is_data = isinstance(error, _DATA_ERRORS)
        if is_value or is_data or isinstance(error.__cause__, _SQLITE_DATA_ERRORS):
            raise BadRow(error_text(error)) from None
        raise


def _plain_insert(table: Table, rows: Sequence[Row]) -> tuple[str, list[tuple[Value, ...]]]:
    """Return an INSERT for SQLite, and its values: SQLAlchemy would need as long as SQLite does."""
    names = [column.name for column in table.c]
    texts = [column.name for column in table.c if isinstance(column.type, JSON)]
    values = itemgetter(*names)
    plain = [{**row, **{name: as_json(row[name]) for name in texts}} for row in rows]
    places = ", ".join("?" * len(names))
    columns = ", ".join(f'"{name}"' for name in names)
    into = f"INSERT INTO {table.name} ({columns}) VALUES ({places})"
    return f"{into} ON CONFLICT (request_id) DO NOTHING", [
        values(row) for row in (plain if texts else rows)
    ]


def prepare_tables(connection: Connection, *, migrate: bool) -> None:
    """Create or upgrade the tables if `migrate`, else require the newest ones.

    Raises RecordsUnusable as `open_database` does.
    """
    if connection.dialect.name == "postgresql" and migrate:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    new = not inspect(connection).has_table(VERSION.name)
    versions = set() if new else set(connection.execute(select(VERSION.c.version_num)).scalars())
    if unknown := sorted(versions - set(VERSIONS)):
        raise RecordsUnusable(
            f"The records are of a newer Safelight (schema {', '.join(unknown)[:60]}; this version "
            f"supports {VERSIONS[-1]}). Upgrade Safelight, or set another database: "
            "SAFELIGHT_RECORDS_URL."
        )
    if versions == {VERSIONS[-1]}:
        return
    if not migrate:
        raise RecordsUnusable("The records have an older schema. Run: safelight records upgrade")
    if new:
        create_tables(connection)
        return
    from safelight.records.migrate import upgrade  # Alembic takes 8 MB and is rarely needed

    upgrade(connection)


def create_tables(connection: Connection) -> None:
    """Create the newest tables directly, with the same result as all migrations."""
    METADATA.create_all(connection, checkfirst=False)
    VERSION.create(connection)
    connection.execute(insert(VERSION).values(version_num=VERSIONS[-1]))


def _salt(connection: Connection) -> str:
    """Return the installation's salt; create it when the database is first opened."""
    salt = connection.execute(select(INSTALLATION.c.salt)).scalar()
    if salt is None:
        salt = secrets.token_hex(32)
        connection.execute(insert(INSTALLATION).values(id=1, salt=salt))
    return str(salt)
