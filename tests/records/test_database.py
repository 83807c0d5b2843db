"""Creation and migration of the tables."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from safelight.errors import RecordsUnusable
from safelight.records.config import records_url, store_config
from safelight.records.database import open_database, translate_errors
from safelight.records.engines import safe_url
from safelight.records.migrate import alembic_config
from safelight.records.schema import METADATA, VERSION, VERSIONS
from safelight.settings import load
from tests.records.making import opened


def test_migrations_create_the_same_tables_as_a_new_database(url: str) -> None:
    def made() -> tuple[list[Any], Any, Any]:
        with opened(url) as database, database.engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION.name, "compare_type": True}
            )
            found = inspect(connection)
            names = {name: found.get_indexes(name) for name in found.get_table_names()}
            key = found.get_pk_constraint(VERSION.name)
            columns = [
                (each["name"], str(each["type"]), each["nullable"])
                for name in sorted(names)
                for each in found.get_columns(name)
            ]
            return compare_metadata(context, METADATA), (names, key), sorted(columns)

    at_once = made()
    with opened(url) as database, database.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
        connection.execute(text(f"DROP TABLE {VERSION.name}"))
        command.upgrade(alembic_config(connection), "head")
    assert made() == at_once
    assert at_once[0] == []


def test_the_known_versions_are_those_of_the_migrations() -> None:
    steps = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    assert tuple(reversed([step.revision for step in steps])) == VERSIONS


@pytest.mark.parametrize("is_there", [False, True])
def test_a_new_or_current_database_is_opened_without_alembic(file: str, *, is_there: bool) -> None:
    if is_there:
        with opened(file):
            pass
    program = (
        f"from safelight.records.database import open_database; open_database({file!r}).close(); "
        "import sys; print({'alembic', 'sqlalchemy.dialects.postgresql'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_first_migration_can_be_reverted(url: str) -> None:
    with opened(url) as database:
        with database.engine.begin() as connection:
            command.downgrade(alembic_config(connection), "base")
        with database.engine.connect() as connection:
            names = connection.dialect.get_table_names(connection)
    assert names == [VERSION.name]
    with opened(url) as database:
        assert database.salt


def test_services_that_start_together_migrate_once(url: str) -> None:
    salts, failures = [], []
    together = threading.Barrier(4)

    def start() -> None:
        together.wait()
        try:
            with opened(url) as database:
                salts.append(database.salt)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert len(set(salts)) == 1
    assert len(salts) == 4


def test_a_reader_creates_no_database(file: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsUnusable, match="no records at"):
        open_database(file, migrate=False)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_migrate(file: str) -> None:
    with opened(file) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM safelight_version")
    with pytest.raises(RecordsUnusable, match="safelight records upgrade"):
        open_database(file, migrate=False)


def test_deleted_rows_are_overwritten(file: str) -> None:
    with opened(file) as database, database.engine.connect() as connection:
        pragmas = ("secure_delete", "journal_mode", "synchronous", "auto_vacuum")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in pragmas]
    assert found == [1, "wal", 2, 2]


def test_an_address_is_shown_without_its_password() -> None:
    with (
        pytest.raises(RecordsUnusable) as refused,
        translate_errors("postgresql://me:secret@127.0.0.1:1/x"),
    ):
        open_database("postgresql://me:secret@127.0.0.1:1/x", migrate=False)
    assert "me:***@127.0.0.1:1/x" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert safe_url("sqlite:///x.db") == "sqlite:///x.db"


def test_records_are_in_the_state_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_config(load()) is None
    monkeypatch.delenv("SAFELIGHT_RECORDS_URL")
    assert records_url(load(state_folder=tmp_path)) == f"sqlite:///{tmp_path}/records.db"
    config = store_config(load(records_retention_days=2, samples=True, samples_per_type=5))
    assert config is not None
    assert (config.limits.retention_seconds, config.limits.samples_per_type) == (172_800, 5)
    assert config.samples
    assert not config.origin.store_prompts
