"""The server of PostgreSQL, as the tests of the records have it."""

from tests.records.conftest import no_database_left_open, server

__all__ = ["no_database_left_open", "server"]
