"""Copy all records into one file, and the records of such a file into an empty database.

The file is a SQLite database with the tables of `schema.py`, whatever the database is. So one loop
copies in both directions, row by row, and no format has to be kept up to date.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Table, create_engine, delete, func, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from safelight.errors import BadSetting, RecordsUnusable
from safelight.records.database import Database, create_tables, open_database, prepare_tables
from safelight.records.engines import error_text, open_engine, safe_url
from safelight.records.rows import Row
from safelight.records.schema import (
    ABOUT_REQUESTS,
    INSTALLATION,
    METADATA,
    SAMPLES,
    VERSION,
    VERSIONS,
)
from safelight.records.seal import check_seal, remove_seal, write_errors, written_aside
from safelight.units import counted

_ROWS, _SAMPLES = 500, 50  # in memory at once; a sample has up to 192 KiB
_TABLES = tuple(reversed(ABOUT_REQUESTS))
# The file is new, and nobody else reads it before it is complete.
_UNPROTECTED = ("journal_mode = OFF", "synchronous = OFF")

Progress = Callable[[int, int], None]  # rows copied, rows in all tables
Write = Callable[[Table, list[Row]], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """The copied rows by table, and the size of the backup file."""

    rows: dict[str, int]
    bytes: int


def back_up(database: Database, file: Path, progress: Progress, *, force: bool = False) -> Copied:
    """Write the records of one moment to a new file. Services can write meanwhile.

    Raises BadSetting if the file exists (unless `force`) or cannot be written, SQLAlchemyError if
    the database cannot be read.
    """
    _check_target(database, file, force=force)
    with written_aside(file) as aside:
        engine = create_engine(_url(aside))
        try:
            with _snapshot(database) as source, engine.connect() as target:
                with _write_errors(file):
                    for pragma in _UNPROTECTED:
                        target.exec_driver_sql(f"PRAGMA {pragma}")
                    create_tables(target)

                def write(table: Table, rows: list[Row]) -> None:
                    with _write_errors(file):
                        target.execute(insert(table), rows)

                counts = _copy(source, write, progress)
                with _write_errors(file):
                    target.commit()
        finally:
            engine.dispose()
        size = aside.stat().st_size
    return Copied(counts, size)


def restore(file: Path, url: str, progress: Progress) -> Copied:
    """Copy a backup into a database without records, in one transaction, with its salt.

    Raises BadSetting if the file is no intact backup, RecordsUnusable if the database has records
    or other tables, or the file is of a newer version, SQLAlchemyError.
    """
    check_seal(file)
    if _is_file_of(make_url(url), file):
        raise BadSetting(f"{file} is the backup itself. Choose another database (--records-url).")
    _refuse_foreign_tables(url)
    with _opened(file) as backup, backup.engine.connect() as source:
        engine = open_engine(url, writing=True)
        try:
            with engine.begin() as target:
                prepare_tables(target, migrate=True)
                _require_empty(target, url)
                target.execute(delete(INSTALLATION))

                def write(table: Table, rows: list[Row]) -> None:
                    with _bad_rows(table, file, url):
                        target.execute(insert(table), rows)

                counts = _copy(source, write, progress)
        finally:
            engine.dispose()
    return Copied(counts, file.stat().st_size)


def _check_target(database: Database, file: Path, *, force: bool) -> None:
    if _is_file_of(database.engine.url, file):
        raise BadSetting(f"{file} is the database itself. Choose another file.")
    if file.is_dir():
        raise BadSetting(f"{file} is a folder. Name a file in it.")
    if file.exists() and not file.is_file():
        raise BadSetting(f"{file} is no ordinary file, and is not replaced. Choose another file.")
    if file.exists() and not force:
        raise BadSetting(f"{file} already exists. Choose another file, or add --force.")


def _is_file_of(address: URL, file: Path) -> bool:
    """Return whether a file is the database with this address."""
    other = Path(address.database or "")
    is_sqlite = address.get_backend_name() == "sqlite"
    return is_sqlite and file.exists() and other.exists() and file.samefile(other)


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection]:
    """Yield a connection that reads the records of one moment, and delays no writer."""
    connection = database.engine.connect()
    if not database.is_sqlite:
        connection = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    with connection:
        yield connection


@contextmanager
def _opened(file: Path) -> Iterator[Database]:
    """Open a backup; an older one is upgraded in a copy. Raises RecordsUnusable if newer."""
    version = _version(file)
    if version not in VERSIONS:
        raise RecordsUnusable(
            f"{file} is of a newer Safelight (schema {version[:20]}; this version supports "
            f"{VERSIONS[-1]}). Upgrade Safelight first."
        )
    is_older = version != VERSIONS[-1]
    with TemporaryDirectory(prefix="safelight-restore-") as folder:
        source = file
        if is_older:
            source = Path(copyfile(file, Path(folder) / "backup.db"))
            remove_seal(source)
        database = open_database(_url(source), migrate=is_older)
        try:
            yield database
        finally:
            database.close()


def _version(file: Path) -> str:
    engine = open_engine(_url(file), writing=False)
    try:
        with engine.connect() as connection:
            return str(connection.execute(select(VERSION.c.version_num)).scalar_one())
    finally:
        engine.dispose()


def _url(file: Path) -> str:
    return URL.create("sqlite", database=str(file)).render_as_string()


def _refuse_foreign_tables(url: str) -> None:
    """Raise RecordsUnusable if a SQLite file belongs to another program. The file stays as it is.

    A PostgreSQL database may be shared.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not Path(address.database or "").is_file():
        return
    engine = open_engine(url, writing=False)
    try:
        names = set(inspect(engine).get_table_names()) - {*METADATA.tables, VERSION.name}
    finally:
        engine.dispose()
    if names:
        raise RecordsUnusable(
            f"{address.database} has tables of another program: {', '.join(sorted(names))[:100]}. "
            "Restore into a new file: --records-url sqlite:///NEW.db"
        )


def _require_empty(target: Connection, url: str) -> None:
    """Raise RecordsUnusable if the database has records; else keep other writers out."""
    if target.dialect.name == "postgresql":
        names = ", ".join(table.name for table in (*_TABLES, INSTALLATION))
        target.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
    if count := sum(_count(target, table) for table in _TABLES):
        raise RecordsUnusable(
            f"The records at {safe_url(url)} already have {counted(count, 'row')}. Restore into a "
            "new database: --records-url sqlite:///NEW.db or postgresql://USER@HOST/NEW."
        )


def _copy(source: Connection, write: Write, progress: Progress) -> dict[str, int]:
    """Copy the salt and all rows. Return the number of rows by table."""
    total = sum(_count(source, table) for table in _TABLES)
    counts = {table.name.removeprefix("safelight_"): 0 for table in _TABLES}
    for table in (INSTALLATION, *_TABLES):
        name = table.name.removeprefix("safelight_")
        size = _SAMPLES if table is SAMPLES else _ROWS
        with source.execution_options(yield_per=size).execute(select(table)) as result:
            for rows in result.mappings().partitions():
                write(table, [{str(key): value for key, value in row.items()} for row in rows])
                if table is not INSTALLATION:
                    counts[name] += len(rows)
                    progress(sum(counts.values()), total)
    return counts


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@contextmanager
def _write_errors(file: Path) -> Iterator[None]:
    """Turn an error of the new file into one line about it. Raises BadSetting."""
    with write_errors(file):
        try:
            yield
        except SQLAlchemyError as error:
            raise BadSetting(f"{file} cannot be written: {error_text(error)}.") from None


@contextmanager
def _bad_rows(table: Table, file: Path, url: str) -> Iterator[None]:
    """Name the table if the database refuses a value. Raises RecordsUnusable."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise RecordsUnusable(
            f"{safe_url(url)} refuses a row of {table.name} in {file}: {error_text(error)}. "
            "Nothing was restored."
        ) from None
