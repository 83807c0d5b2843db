"""Retention by age and by size, in small deletes."""

from pathlib import Path

import pytest

from safelight.records.config import Limits
from safelight.records.retention import ROWS_AT_ONCE, info, purge, tidy, used_bytes
from safelight.records.rows import Rating
from tests.records.making import NOW, FakeClock, a_record, a_store, an_assessment, opened, rows

DAY = 86_400.0


def filled(url: str, requests: int, **changed: object) -> None:
    """Write requests, a second apart, with all that can be known of them."""
    clock = FakeClock()
    store, _ = a_store(url, clock, samples=True)
    for number in range(requests):
        clock.now = NOW + number
        store.write(a_record(f"{number:05}", **changed))
        store.assess(an_assessment(f"{number:05}", after=b"x" * 200))
        store.rate(Rating(f"{number:05}", "make_him_old", 4, "none"))
    while not store.step():
        pass
    store.close()


def test_what_is_too_old_is_deleted_with_all_that_is_about_it(url: str) -> None:
    filled(url, 10)
    with opened(url) as database:
        assert not tidy(database, Limits(retention_seconds=DAY), NOW + DAY + 5)
    for table in ("requests", "assessments", "ratings"):
        assert [row["request_id"] for row in rows(url, table)] == [
            f"{number:05}" for number in range(5, 10)
        ], table
    assert {row["request_id"] for row in rows(url, "samples")} <= {
        f"{number:05}" for number in range(5, 10)
    }


def test_what_is_too_much_is_deleted_from_the_oldest_on(url: str) -> None:
    filled(url, 3 * ROWS_AT_ONCE)
    with opened(url) as database:
        before = used_bytes(database)
        limits = Limits(bytes=int(before * 0.6))
        assert not tidy(database, limits, NOW)
        assert used_bytes(database) <= limits.bytes
    left = [row["request_id"] for row in rows(url, "requests", "request_id, at")]
    assert 0 < len(left) < 3 * ROWS_AT_ONCE
    assert left[-1] == f"{3 * ROWS_AT_ONCE - 1:05}"


def test_a_file_gives_its_room_back(file: str) -> None:
    filled(file, 2 * ROWS_AT_ONCE)
    path = Path(file.removeprefix("sqlite:///"))
    before = path.stat().st_size
    with opened(file) as database:
        assert purge(database, NOW + DAY) >= 6 * ROWS_AT_ONCE
    assert path.stat().st_size < before / 2


def test_a_large_surplus_is_brought_down_in_several_turns(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.records.retention.ROWS_AT_ONCE", 10)
    filled(file, 250)
    with opened(file) as database:
        assert tidy(database, Limits(retention_seconds=1), NOW + DAY)
        assert info(database).rows["requests"] == 50
        assert not tidy(database, Limits(retention_seconds=1), NOW + DAY)
        held = info(database)
    assert held.rows == dict.fromkeys(("requests", "assessments", "ratings", "samples"), 0)
    assert (held.oldest, held.newest) == (None, None)


def test_a_store_tidies_by_itself_once_a_minute(file: str) -> None:
    filled(file, 3)
    clock = FakeClock(NOW + DAY + 0.5)
    store, _ = a_store(file, clock, limits=Limits(retention_seconds=DAY))
    store.step()
    assert len(rows(file, "requests")) == 2
    clock.now += 30
    store.step()
    assert len(rows(file, "requests")) == 2
    clock.now += 31
    store.step()
    assert rows(file, "requests") == []
