"""How each of the two databases is spoken to: SQLite in WAL mode, PostgreSQL within time limits."""

from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, StatementError

from safelight.errors import MissingExtra, RecordsUnusable

_WAIT_SECONDS = 5  # for a lock that another process holds, and for a server to answer
_PRAGMAS = (
    f"busy_timeout = {_WAIT_SECONDS * 1000}",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = FULL",  # what was acknowledged survives a power cut too
    "journal_size_limit = 16777216",
    "secure_delete = ON",  # what was deleted on request is not left in the file
)
_LIMITS = (
    f"SET statement_timeout = {3 * _WAIT_SECONDS * 1000}",
    f"SET lock_timeout = {_WAIT_SECONDS * 1000}",
)


def engine_of(address: str, *, writing: bool) -> Engine:
    """Return the engine of a database; one that only reads makes no file.

    Raises RecordsUnusable where there is none to read, MissingExtra, OSError.
    """
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writing=writing)
    try:
        import_module("psycopg")
    except ImportError as missing:
        raise MissingExtra("postgres", "psycopg") from missing
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=1,
        max_overflow=1,
        hide_parameters=True,
        json_serializer=_json,
        connect_args={"connect_timeout": _WAIT_SECONDS, "application_name": "safelight"},
    )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        connection.autocommit = True
        for statement in _LIMITS:
            connection.execute(statement)
        connection.autocommit = False

    return engine


def _sqlite(url: URL, *, writing: bool) -> Engine:
    file = Path(url.database or "")
    if writing:
        file.parent.mkdir(parents=True, exist_ok=True)
    elif not file.is_file():
        raise RecordsUnusable(
            f"There are no records at {file} yet. Serve with them, or name others: "
            "SAFELIGHT_RECORDS_URL."
        )
    engine = create_engine(url, hide_parameters=True, json_serializer=_json)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, tables' too
        for pragma in _PRAGMAS if writing else _PRAGMAS[:1]:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def shown(url: str) -> str:
    """Return a database's address without its password."""
    return make_url(url).render_as_string(hide_password=True)


def why(error: BaseException) -> str:
    """Return the first line of what a database says; never the values that were to be written."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(said).strip().splitlines() if not isinstance(said, StatementError) else []
    return (lines[0] if lines else type(said).__name__)[:200].rstrip(".")
