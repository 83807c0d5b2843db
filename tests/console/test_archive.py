"""The console reads records that may be absent, replaced or busy, and never writes to them."""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from safelight.console.archive import Archive
from safelight.errors import BadSetting, Overloaded, RecordsUnusable
from safelight.records.database import Database
from safelight.records.search import Wanted, find_page
from tests.records.making import opened
from tests.records.many import write_many


def number(database: Database) -> int:
    return len(find_page(database, Wanted()).rows)


def records(file: Path, count: int) -> str:
    url = f"sqlite:///{file}"
    with opened(url) as database:
        write_many(database, count)
    return url


def replace(folder: Path, count: int) -> None:
    """Put other records at the place of those that are there."""
    records(folder / "other.db", count)
    for old in folder.glob("records.db*"):
        old.unlink()
    (folder / "other.db").rename(folder / "records.db")


async def test_a_console_without_records_says_so() -> None:
    with pytest.raises(BadSetting, match="SAFELIGHT_RECORDS_URL"):
        await Archive("").ask(number)


async def test_records_that_come_later_are_found(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    archive = Archive(f"sqlite:///{file}")
    with pytest.raises(RecordsUnusable):
        await archive.ask(number)
    assert not file.exists()
    records(file, 3)
    assert await archive.ask(number) == 3


async def test_records_that_were_replaced_are_read_anew(tmp_path: Path) -> None:
    archive = Archive(records(tmp_path / "records.db", 3))
    assert await archive.ask(number) == 3
    replace(tmp_path, 5)
    assert await archive.ask(number) == 5


async def test_a_damaged_file_is_said_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    file.write_bytes(b"no database" * 1000)
    archive = Archive(f"sqlite:///{file}")
    with pytest.raises(RecordsUnusable):
        await archive.ask(number)
    file.unlink()
    records(file, 2)
    assert await archive.ask(number) == 2


async def test_more_questions_than_can_wait_are_refused_at_once(tmp_path: Path) -> None:
    archive, goes_on = Archive(records(tmp_path / "records.db", 1)), Event()

    def slow(_: Database) -> bool:
        return goes_on.wait(30)

    waiting = [asyncio.create_task(archive.ask(slow)) for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await archive.ask(number)
    goes_on.set()
    assert all(await asyncio.gather(*waiting))
    assert await archive.ask(number) == 1
