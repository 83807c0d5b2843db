"""Both databases: a file of SQLite, and a real PostgreSQL that the tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.records.making import MADE
from tests.records.postgres import Postgres, postgres


@pytest.fixture(autouse=True)
def no_database_left_open() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path / 'state' / 'records.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a new database, of either kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("file"))
    running: Postgres = request.getfixturevalue("server")
    return running.new_database()
