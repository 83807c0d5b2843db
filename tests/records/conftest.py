"""Fixtures for both databases: a SQLite file, and a real PostgreSQL server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.records.making import OPEN_STORES
from tests.records.postgres import Postgres, postgres


@pytest.fixture(autouse=True)
def no_database_left_open() -> Iterator[None]:
    yield
    while OPEN_STORES:
        OPEN_STORES.pop().close()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the URL of a file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'state' / 'records.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a new database; the test runs with SQLite and with PostgreSQL."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("file"))
    running: Postgres = request.getfixturevalue("server")
    return running.new_database()
