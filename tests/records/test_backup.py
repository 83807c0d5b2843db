"""Backup and restore between real databases: SQLite files and a PostgreSQL server."""

import os
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config

from safelight.errors import BadSetting, RecordsUnusable
from safelight.records import database as databases
from safelight.records import migrate
from safelight.records.backup import Copied, back_up, restore
from safelight.records.database import Batch, open_database
from safelight.records.rows import Rating, rating_row, request_row
from safelight.records.schema import ABOUT_REQUESTS, VERSIONS
from safelight.records.seal import check_seal
from tests.cli.running import started
from tests.records.making import (
    NOW,
    ORIGIN,
    OWNER,
    PROMPT,
    FakeClock,
    a_record,
    a_store,
    fill,
    opened,
    rows,
)
from tests.records.postgres import Postgres
from tests.stack.waiting import eventually

TABLES = ("requests", "assessments", "ratings", "pairs", "samples")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "monday.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a second new database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'other' / 'records.db'}"
    running: Postgres = request.getfixturevalue("server")
    return running.new_database()


def silent(_done: int, _total: int) -> None:
    """Show no progress."""


def saved(url: str, file: Path, **options: Any) -> Copied:
    database = open_database(url, migrate=False)
    try:
        return back_up(database, file, silent, **options)
    finally:
        database.close()


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    with opened(url) as database, database.engine.connect() as connection:
        return {
            table.name: [
                dict(row._mapping)
                for row in connection.execute(
                    table.select().order_by(table.c.at, *table.primary_key)
                )
            ]
            for table in ABOUT_REQUESTS
        }


def test_a_backup_of_either_database_is_restored_into_either(
    url: str, other: str, backup: Path
) -> None:
    fill(url)
    copied = saved(url, backup)

    assert restore(backup, other, silent) == copied
    assert copied.rows == {
        "requests": 30,
        "assessments": 30,
        "ratings": 30,
        "pairs": 30,
        "samples": 20,
    }
    assert copied.bytes == backup.stat().st_size
    assert everything(other) == everything(url)
    assert {row["seed"] for row in everything(other)["safelight_requests"]} == {7, 2**62}


def test_after_a_restore_owners_find_rate_and_delete_their_requests(
    url: str, other: str, backup: Path
) -> None:
    fill(url, 2)
    saved(url, backup)
    with opened(other) as database:
        own_salt = database.salt  # a service was started once with the new database
    restore(backup, other, silent)

    with opened(url) as before, opened(other) as after:
        assert after.salt == before.salt != own_salt
        assert after.find("request-1", "somebody else", "tests") == []
        [found] = after.find("request-1", OWNER, "tests")
        assert found.rating == 2
    store, _ = a_store(other, FakeClock(), samples=True)
    store.rate(Rating("request-1", "make_him_old", 5, "none"))
    store.write(a_record("new"))
    store.step()
    found_later = store.find("request-1", OWNER)
    forgotten = store.forget("request-0")
    store.step()
    [stored] = found_later.result(5)
    assert stored.rating == 5
    forgotten.result(5)
    assert [len(rows(other, table)) for table in TABLES] == [2, 1, 1, 1, 1]
    hashes = {row["request_id"]: row["prompt_hash"] for row in rows(other, "requests")}
    assert hashes["new"] == hashes["request-1"], PROMPT


def test_a_backup_has_the_records_of_one_moment_while_a_service_writes(
    url: str, backup: Path
) -> None:
    fill(url, 5)
    writing = a_store(url, FakeClock(NOW + 1), samples=True)[0]
    numbers = iter(range(1000))

    def write_more(_done: int, _total: int) -> None:
        """Write while the backup is being made: after each batch of it."""
        name = f"later-{next(numbers)}"
        writing.write(a_record(name))
        writing.rate(Rating(name, "make_him_old", 1, "none"))
        assert writing.step() == 1.0, "the writer had to wait"
        assert writing.waiting == 0

    database = open_database(url, migrate=False)
    try:
        copied = back_up(database, backup, write_more)
    finally:
        database.close()

    assert copied.rows == {"requests": 5, "assessments": 5, "ratings": 5, "pairs": 5, "samples": 5}
    assert len(rows(url, "requests")) > 5
    with closing(sqlite3.connect(backup)) as connection:
        stored = connection.execute("SELECT count(*) FROM safelight_requests").fetchone()
    assert stored == (5,)


def test_a_backup_while_a_thread_writes_has_each_requests_rating(url: str, backup: Path) -> None:
    fill(url, 1)
    ready, done = threading.Event(), threading.Event()

    def write() -> None:
        with opened(url) as database:
            for number in range(100_000):
                record = request_row(a_record(f"n{number}"), NOW, ORIGIN, database.salt)
                rating = rating_row(Rating(f"n{number}", "other", 1, "none"), NOW)
                database.write(Batch(requests=[record], ratings=[rating]), 20)
                if number == 20:
                    ready.set()
                if done.is_set():
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert ready.wait(30)
        copied = saved(url, backup)
    finally:
        done.set()
        thread.join(30)
    assert copied.rows["requests"] == copied.rows["ratings"] > 20


def test_the_file_is_private_and_readable_as_records(url: str, backup: Path) -> None:
    fill(url, 3)
    saved(url, backup)

    assert backup.stat().st_mode & 0o777 == 0o600
    with_backup = open_database(f"sqlite:///{backup}", migrate=False)
    with_backup.close()
    check_seal(backup)
    assert [file.name for file in backup.parent.glob("*monday*")] == ["monday.db"]


def test_an_existing_file_is_replaced_only_with_force(file: str, backup: Path) -> None:
    fill(file, 1)
    backup.write_text("precious")
    with pytest.raises(BadSetting, match=r"already exists.*--force"):
        saved(file, backup)
    assert backup.read_text() == "precious"
    assert saved(file, backup, force=True).rows["requests"] == 1


def test_the_database_itself_is_never_overwritten(file: str) -> None:
    fill(file, 1)
    path = Path(file.removeprefix("sqlite:///"))
    with pytest.raises(BadSetting, match="is the database itself"):
        saved(file, path, force=True)
    assert len(rows(file, "requests")) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_backup_leaves_no_file_and_keeps_the_old_one(
    error: type[BaseException], url: str, backup: Path
) -> None:
    fill(url, 3)
    saved(url, backup)
    old = backup.read_bytes()

    def interrupt(done: int, _total: int) -> None:
        if done > 3:
            raise error

    with opened(url) as database, pytest.raises(error):
        back_up(database, backup, interrupt, force=True)
    assert backup.read_bytes() == old
    assert [file.name for file in backup.parent.glob("*monday*")] == ["monday.db"]


def test_a_full_disk_is_one_line_about_the_file(
    file: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(file)
    limits = ("page_size = 512", "max_page_count = 60", "journal_mode = OFF")
    monkeypatch.setattr("safelight.records.backup._UNPROTECTED", limits)
    with pytest.raises(BadSetting, match=r"monday\.db cannot be written: .*full"):
        saved(file, backup)
    assert list(backup.parent.glob("*monday*")) == []


def test_a_folder_that_does_not_exist_is_one_line(file: str, tmp_path: Path) -> None:
    fill(file, 1)
    with pytest.raises(BadSetting, match="cannot be written: No such file"):
        saved(file, tmp_path / "nowhere" / "monday.db")
    with pytest.raises(BadSetting, match="is a folder"):
        saved(file, tmp_path)


def test_a_pipe_or_a_device_is_never_replaced(file: str, tmp_path: Path) -> None:
    fill(file, 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSetting, match="is no ordinary file"):
        saved(file, tmp_path / "pipe", force=True)
    assert (tmp_path / "pipe").is_fifo()


@pytest.fixture
def made(backup: Path, tmp_path: Path) -> Path:
    source = f"sqlite:///{tmp_path / 'source.db'}"
    fill(source, 6)
    saved(source, backup)
    return backup


def test_a_database_with_records_is_refused_and_stays_as_it_was(url: str, made: Path) -> None:
    store, _ = a_store(url)
    store.write(a_record("own"))
    store.step()
    with pytest.raises(
        RecordsUnusable, match=r"already have 1 row\. Restore into a new"
    ) as refused:
        restore(made, url, silent)
    assert "purge" not in str(refused.value), "pasted, it would purge the default database"
    assert [row["request_id"] for row in rows(url, "requests")] == ["own"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_restore_leaves_the_database_as_it_was(
    error: type[BaseException], url: str, made: Path
) -> None:
    with opened(url) as database:
        salt = database.salt

    def interrupt(done: int, _total: int) -> None:
        if done > 6:
            raise error

    with pytest.raises(error):
        restore(made, url, interrupt)
    with opened(url) as database:
        assert database.salt == salt
    assert [len(rows(url, table)) for table in TABLES] == [0, 0, 0, 0, 0]
    restore(made, url, silent)
    assert len(rows(url, "requests")) == 6


def test_an_interrupted_restore_into_an_empty_database_creates_no_table(
    url: str, made: Path
) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(made, url, interrupt)
    with pytest.raises(RecordsUnusable, match="safelight records upgrade"):
        open_database(url, migrate=False)


@pytest.mark.parametrize("place", [0, 50, 62, 70, 4096, -1])
def test_one_changed_byte_anywhere_is_found(place: int, made: Path, file: str) -> None:
    content = bytearray(made.read_bytes())
    content[place] ^= 1
    made.write_bytes(content)
    with pytest.raises(BadSetting, match=r"is damaged|is not a backup"):
        restore(made, file, silent)
    assert not Path(file.removeprefix("sqlite:///")).exists()


@pytest.mark.parametrize("size", [0, 40, 100, 5000])
def test_a_truncated_file_is_refused(size: int, made: Path, file: str) -> None:
    os.truncate(made, size)
    with pytest.raises(BadSetting, match=r"is damaged|is not a backup"):
        restore(made, file, silent)


def test_a_foreign_file_is_refused(made: Path, file: str, tmp_path: Path) -> None:
    for foreign in (Path(__file__), tmp_path / "source.db"):
        with pytest.raises(BadSetting, match="is not a backup of records"):
            restore(foreign, file, silent)
    with pytest.raises(BadSetting, match="cannot be read: No such file"):
        restore(tmp_path / "missing.db", file, silent)
    with pytest.raises(BadSetting, match="is the backup itself"):
        restore(made, f"sqlite:///{made}", silent)
    check_seal(made)


def test_a_file_with_tables_of_another_program_is_refused_and_unchanged(
    made: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    before = foreign.read_bytes()
    with pytest.raises(RecordsUnusable, match=r"tables of another program: invoices\. Restore"):
        restore(made, f"sqlite:///{foreign}", silent)
    assert foreign.read_bytes() == before


def test_a_backup_of_a_newer_version_is_refused(file: str, backup: Path, other: str) -> None:
    fill(file, 1)
    with opened(file) as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases, "VERSIONS", ("9999",))
        back_up(database, backup, silent)
    with pytest.raises(RecordsUnusable, match=r"newer Safelight \(schema 9999; this version"):
        restore(backup, other, silent)


def test_a_backup_of_an_older_version_is_upgraded_and_itself_unchanged(
    made: Path, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth migration, which exists only here, adds an index."""
    steps = tmp_path / "steps"
    shutil.copytree(Path(migrate.__file__).parent / "migrations", steps)
    (steps / "versions" / "fifth.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '0005', '0004'\n"
        "def upgrade():\n"
        "    op.execute(\"UPDATE safelight_ratings SET reason = 'other'\")\n"
    )
    real = migrate.alembic_config

    def config(connection: Any = None) -> Config:
        changed = real(connection)
        changed.set_main_option("script_location", str(steps))
        return changed

    monkeypatch.setattr(migrate, "alembic_config", config)
    monkeypatch.setattr(databases, "VERSIONS", (*VERSIONS, "0005"))
    monkeypatch.setattr("safelight.records.backup.VERSIONS", (*VERSIONS, "0005"))
    restore(made, other, silent)

    assert {row["reason"] for row in rows(other, "ratings")} == {"other"}
    check_seal(made)


def test_a_value_that_postgresql_refuses_is_named_and_nothing_is_restored(
    server: Postgres, file: str, backup: Path
) -> None:
    target = server.new_database()
    fill(file, 3)
    with opened(file) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE safelight_ratings SET reason = printf('%.60c', 'x')")
    saved(file, backup)
    with pytest.raises(RecordsUnusable, match=r"refuses a row of safelight_ratings .*Nothing was"):
        restore(backup, target, silent)
    assert rows(target, "requests") == []


def test_only_a_few_rows_are_in_memory_at_once(
    url: str, other: str, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.records.backup._ROWS", 4)
    monkeypatch.setattr("safelight.records.backup._SAMPLES", 1)
    fill(url, 9)
    steps: list[int] = [0]
    with opened(url) as database:
        back_up(database, backup, lambda done, _: steps.append(done))
    sizes = [after - before for before, after in pairwise(steps)]
    assert sizes == [4, 4, 1] * 4 + [1] * 9
    restore(backup, other, lambda done, _: steps.append(done))
    assert steps[-1] == 45
    assert everything(other) == everything(url)


def test_progress_is_reported_up_to_the_last_row(made: Path, other: str) -> None:
    steps: list[tuple[int, int]] = []
    restore(made, other, lambda done, total: steps.append((done, total)))
    assert steps == [(6, 30), (12, 30), (18, 30), (24, 30), (30, 30)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_signal_ends_a_waiting_command_at_once_and_leaves_nothing(
    command: str, number: signal.Signals, server: Postgres, made: Path, tmp_path: Path
) -> None:
    url = server.new_database()
    fill(url, 1) if command == "backup" else open_database(url).close()
    file = tmp_path / "tuesday.db" if command == "backup" else made
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with opened(url) as database, database.engine.connect() as blocking:
        blocking.exec_driver_sql("LOCK TABLE safelight_samples IN ACCESS EXCLUSIVE MODE")
        with started(tmp_path / "run", "records", command, str(file), "--records-url", url) as run:
            eventually(
                lambda: blocking.exec_driver_sql(waiting).scalar_one() == 1,
                within=30,
                what="the command waits for the lock",
            )
            assert run.send(number) == 130
            assert (run.out, run.err) == ("", "")
        blocking.rollback()
    assert list(tmp_path.glob("*tuesday*")) == []
    assert len(rows(url, "requests")) == (1 if command == "backup" else 0)
