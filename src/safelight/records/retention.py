"""Delete records above the age and size limits, in small steps."""

from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, literal_column, select

from safelight.records.config import Limits
from safelight.records.database import Database
from safelight.records.schema import ABOUT_REQUESTS, REQUESTS

ROWS_PER_DELETE = 500
_DELETES_PER_CALL = 20  # then waiting records are written first
_PAGES_PER_VACUUM = 5000
_MEASURED_ROWS = 1000
_INDEX_FACTOR = 1.5  # size with indexes and page headers, relative to the rows of PostgreSQL


@dataclass(frozen=True, slots=True)
class Info:
    """Content of a database: rows by table, used bytes, Unix times of oldest and newest request."""

    rows: dict[str, int]
    bytes: int
    oldest: float | None
    newest: float | None


def enforce_limits(database: Database, limits: Limits, now: float) -> bool:
    """Delete expired rows, then the oldest ones above the size limit.

    Return True if more rows must be deleted: one call deletes a limited number.
    """
    deleted = 0
    for _ in range(_DELETES_PER_CALL):
        count = delete_before(database, now - limits.retention_seconds)
        if not count and used_bytes(database) > limits.bytes:
            count = delete_before(database, _time_of_oldest(database))
        deleted += count
        if not count:
            break
    else:
        return True
    if deleted:
        _vacuum(database, _PAGES_PER_VACUUM)
    return False


def delete_before(database: Database, time: float) -> int:
    """Delete at most ROWS_PER_DELETE rows of each table before a Unix time. Return the number."""
    with database.engine.begin() as connection:
        return sum(_delete_some(connection, table, time) for table in ABOUT_REQUESTS)


def used_bytes(database: Database) -> int:
    """Return the size of the records: used pages of SQLite, an estimate for PostgreSQL."""
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            return int(sum(_estimated(connection, table) for table in ABOUT_REQUESTS))
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def info(database: Database) -> Info:
    """Return the content of the database."""
    with database.engine.connect() as connection:
        rows = {
            table.name.removeprefix("safelight_"): int(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
            )
            for table in reversed(ABOUT_REQUESTS)
        }
        oldest, newest = connection.execute(
            select(func.min(REQUESTS.c.at), func.max(REQUESTS.c.at))
        ).one()
    return Info(rows, used_bytes(database), oldest, newest)


def purge(database: Database, before: float) -> int:
    """Delete all rows before a Unix time. Return the number."""
    deleted = 0
    while count := delete_before(database, before):
        deleted += count
    _vacuum(database)
    return deleted


def _delete_some(connection: Connection, table: Table, time: float) -> int:
    oldest = (
        select(table.c.request_id)
        .where(table.c.at < time)
        .order_by(table.c.at)
        .limit(ROWS_PER_DELETE)
    )
    result = connection.execute(delete(table).where(table.c.request_id.in_(oldest)))
    return int(result.rowcount)


def _time_of_oldest(database: Database) -> float:
    """Return a Unix time before which there are ROWS_PER_DELETE requests; infinity if fewer."""
    query = select(REQUESTS.c.at).order_by(REQUESTS.c.at).offset(ROWS_PER_DELETE).limit(1)
    with database.engine.connect() as connection:
        time = connection.execute(query).scalar()
    return float("inf") if time is None else float(time)


def _estimated(connection: Connection, table: Table) -> float:
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    newest = select(table).order_by(table.c.at.desc()).limit(_MEASURED_ROWS).subquery("newest")
    size = func.avg(func.pg_column_size(literal_column("newest.*")))
    mean = connection.execute(select(size).select_from(newest)).scalar()
    return float(rows) * float(mean or 0) * _INDEX_FACTOR


def _vacuum(database: Database, pages: int = 0) -> None:
    """Return free pages of a SQLite file to the file system; 0 returns all."""
    if not database.is_sqlite:
        return
    connection = database.engine.raw_connection()
    try:
        # Not `execute`: it steps once, and this pragma frees one page per step.
        connection.cursor().executescript(f"PRAGMA incremental_vacuum({pages});")
    finally:
        connection.close()
