"""Keeps the records within their age and size, in small deletes that nobody has to wait for."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, literal_column, select

from safelight.records.config import Limits
from safelight.records.database import Database
from safelight.records.schema import ABOUT_REQUESTS, REQUESTS

ROWS_AT_ONCE = 500
_ROUNDS = 20  # small deletes in a row, before records that wait have their turn
_PAGES_AT_ONCE = 5000
_MEASURED_ROWS = 1000
_INDEX_FACTOR = 1.5  # what indexes and page heads add to the rows of PostgreSQL


@dataclass(frozen=True, slots=True)
class Info:
    """What a database holds: rows by table, bytes in use, and the time between first and last."""

    rows: dict[str, int]
    bytes: int
    oldest: float | None
    newest: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def tidy(database: Database, limits: Limits, now: float) -> bool:
    """Delete what is too old, then the oldest of what is too much; tell whether more is left to do.

    Bounded: a database that is far over its limit is brought down in several calls.
    """
    deleted = 0
    for _ in range(_ROUNDS):
        gone = delete_before(database, now - limits.retention_seconds)
        if not gone and used_bytes(database) > limits.bytes:
            gone = delete_before(database, _age_of_oldest(database))
        deleted += gone
        if not gone:
            break
    else:
        return True
    if deleted:
        _give_back(database, _PAGES_AT_ONCE)
    return False


def delete_before(database: Database, moment: float) -> int:
    """Delete a few of the rows that are older than a moment; return how many."""
    with database.engine.begin() as connection:
        return sum(_delete_few(connection, table, moment) for table in ABOUT_REQUESTS)


def used_bytes(database: Database) -> int:
    """Return how much the records take up: of a file its pages in use, of a server an estimate."""
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            return int(sum(_estimated(connection, table) for table in ABOUT_REQUESTS))
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def info(database: Database) -> Info:
    """Return what the database holds."""
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
    """Delete all that is older than a moment; return how many rows that were."""
    deleted = 0
    while gone := delete_before(database, before):
        deleted += gone
    _give_back(database)
    return deleted


def _delete_few(connection: Connection, table: Table, moment: float) -> int:
    oldest = (
        select(table.c.request_id)
        .where(table.c.at < moment)
        .order_by(table.c.at)
        .limit(ROWS_AT_ONCE)
    )
    done = connection.execute(delete(table).where(table.c.request_id.in_(oldest)))
    return int(done.rowcount)


def _age_of_oldest(database: Database) -> float:
    """Return the moment before which a few of the oldest requests lie, and what is about them."""
    later = select(REQUESTS.c.at).order_by(REQUESTS.c.at).offset(ROWS_AT_ONCE).limit(1)
    with database.engine.connect() as connection:
        found = connection.execute(later).scalar()
    return float("inf") if found is None else float(found)


def _estimated(connection: Connection, table: Table) -> float:
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    newest = select(table).order_by(table.c.at.desc()).limit(_MEASURED_ROWS).subquery("newest")
    size = func.avg(func.pg_column_size(literal_column("newest.*")))
    mean = connection.execute(select(size).select_from(newest)).scalar()
    return float(rows) * float(mean or 0) * _INDEX_FACTOR


def _give_back(database: Database, pages: int = 0) -> None:
    """Give so many of a file's free pages back to the file system, or all (0).

    A server does so by itself.
    """
    if not database.is_sqlite:
        return
    connection = database.engine.raw_connection()
    try:
        # Not `execute`: this pragma frees a page each time it is stepped, and that steps once.
        connection.cursor().executescript(f"PRAGMA incremental_vacuum({pages});")
    finally:
        connection.close()
