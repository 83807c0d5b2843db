"""The records as the console reads them: opened when somebody asks, and again after a failure."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from safelight.errors import BadSetting, Overloaded, RecordsUnusable

if TYPE_CHECKING:  # SQLAlchemy is slow to import: only who looks at requests needs it
    from safelight.records.database import Database

_AT_ONCE, _MOST_WAITING, _RETRY_SECONDS = 4, 32, 5.0
_SQLITE = "sqlite:///"
Answer = TypeVar("Answer")


class Archive:
    """Asks the records in threads, a few questions at a time. Belongs to one event loop.

    `url` is that of the records; empty if there are none. Nothing is written.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._lock = Lock()
        self._database: Database | None = None
        self._file: tuple[int, int] | None = None  # device and inode: another file may come

    async def ask(self, question: "Callable[[Database], Answer]") -> Answer:
        """Return what a question finds.

        Raises RecordsUnusable, MissingExtra, BadSetting without records, Overloaded, and what the
        question raises.
        """
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("Too many questions wait for the records. Wait.", _RETRY_SECONDS)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self.read, question)
        finally:
            self._waiting -= 1

    def read(self, question: "Callable[[Database], Answer]") -> Answer:
        """Return what a question finds, in the caller's thread. Raises what `ask` raises."""
        if not self._url:
            raise BadSetting("Records are disabled: SAFELIGHT_RECORDS_URL is empty.")
        from safelight.records.database import translate_errors

        try:
            with translate_errors(self._url):
                return question(self._opened())
        except RecordsUnusable:
            self._close()
            raise

    def _opened(self) -> "Database":
        from safelight.records.database import open_database

        with self._lock:
            file = self._identity()
            if self._database is not None:
                if file == self._file:
                    return self._database
                self._database.close()
                self._database = None
            self._database, self._file = open_database(self._url, migrate=False), file
            return self._database

    def _close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
            self._database = None

    def _identity(self) -> tuple[int, int] | None:
        """Return which file the records are in; None if they are in a server, or absent."""
        if not self._url.startswith(_SQLITE):
            return None
        try:
            status = Path(self._url.removeprefix(_SQLITE).partition("?")[0]).stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino
