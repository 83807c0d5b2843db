"""Create SQLAlchemy engines: SQLite in WAL mode, PostgreSQL with timeouts."""

import os
import sqlite3
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, StatementError

from safelight.errors import MissingExtra, RecordsUnusable
from safelight.records.seal import has_mark

if TYPE_CHECKING:  # an optional extra
    import psycopg

_WAIT_SECONDS = 5  # for a lock, and for the connection to a server
_PRAGMAS = (
    f"busy_timeout = {_WAIT_SECONDS * 1000}",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = FULL",  # a confirmed write survives a power failure
    "journal_size_limit = 16777216",
    "secure_delete = ON",  # deleted rows are overwritten in the file
)
_LIMITS = (
    f"SET statement_timeout = {3 * _WAIT_SECONDS * 1000}",
    f"SET lock_timeout = {_WAIT_SECONDS * 1000}",
)
_READ_ONLY = "SET default_transaction_read_only = on"


def open_engine(address: str, *, writing: bool) -> Engine:
    """Return the engine of a database. Without `writing` no file is created.

    A new SQLite file and its new folders are private. A backup can only be read. Raises
    RecordsUnusable if there is no database to read or a backup to write, MissingExtra, OSError.
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
        json_serializer=as_json,
        connect_args={"connect_timeout": _WAIT_SECONDS, "application_name": "safelight"},
    )

    @event.listens_for(engine, "connect")
    def limit(connection: "psycopg.Connection[tuple[object, ...]]", _record: object) -> None:
        connection.autocommit = True
        for statement in _LIMITS if writing else (*_LIMITS, _READ_ONLY):
            connection.execute(statement)
        connection.autocommit = False

    return engine


def _sqlite(url: URL, *, writing: bool) -> Engine:
    file = Path(url.database or "")
    is_backup = has_mark(file)
    if writing and is_backup:
        raise RecordsUnusable(
            f"{file} is a backup, and nothing may change it. Restore it into a new database: "
            f"safelight records restore {file} --records-url sqlite:///NEW.db"
        )
    if writing:
        _create(file)
    elif not file.is_file():
        raise RecordsUnusable(
            f"There are no records at {file} yet. Start a service with records, or set another "
            "database: SAFELIGHT_RECORDS_URL."
        )
    engine = create_engine(url, hide_parameters=True, json_serializer=as_json)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # our BEGIN starts transactions, also of CREATE TABLE
        for pragma in _PRAGMAS if writing else _PRAGMAS[:1]:
            connection.execute(f"PRAGMA {pragma}")
        if not writing:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _create(file: Path) -> None:
    """Create a private file and its folders, if missing. SQLite gives its log the same rights.

    What root creates belongs to the owner of the folder, so that a service can use it.
    """
    for folder in reversed(file.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _give_to_owner(folder, folder.parent)
    if str(file) in ("", ":memory:"):
        return
    with suppress(OSError):  # it exists, or SQLite says why it cannot be created
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _give_to_owner(file, file.parent)


def _give_to_owner(new: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(new, owner.st_uid, owner.st_gid, follow_symlinks=False)


def as_json(value: object) -> str:
    """Return a value as JSON text."""
    return orjson.dumps(value).decode()


def safe_url(url: str) -> str:
    """Return a database URL without its password."""
    return make_url(url).render_as_string(hide_password=True)


def error_text(error: BaseException) -> str:
    """Return the first line of a database error, without the values of the statement."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines() if not isinstance(cause, StatementError) else []
    return (lines[0] if lines else type(cause).__name__)[:200].rstrip(".")
