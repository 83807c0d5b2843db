"""Deletion by age and by size, in small steps."""

from pathlib import Path

import pytest

from safelight.records.config import Limits
from safelight.records.retention import ROWS_PER_DELETE, enforce_limits, info, purge, used_bytes
from safelight.records.rows import Rating
from tests.records.making import NOW, FakeClock, a_record, a_store, an_assessment, opened, rows

DAY = 86_400.0

TABLES = ("requests", "assessments", "ratings", "pairs", "samples")


def fill(url: str, requests: int, **changed: object) -> None:
    """Write requests at intervals of one second, each with an assessment and a rating."""
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


def test_expired_requests_are_deleted_with_all_their_rows(url: str) -> None:
    fill(url, 10)
    with opened(url) as database:
        assert not enforce_limits(database, Limits(retention_seconds=DAY), NOW + DAY + 5)
    for table in ("requests", "assessments", "ratings"):
        assert [row["request_id"] for row in rows(url, table)] == [
            f"{number:05}" for number in range(5, 10)
        ], table
    assert {row["request_id"] for row in rows(url, "samples")} <= {
        f"{number:05}" for number in range(5, 10)
    }


def test_above_the_size_limit_the_oldest_requests_are_deleted(url: str) -> None:
    fill(url, 3 * ROWS_PER_DELETE)
    with opened(url) as database:
        before = used_bytes(database)
        limits = Limits(bytes=int(before * 0.6))
        assert not enforce_limits(database, limits, NOW)
        assert used_bytes(database) <= limits.bytes
    remaining = [row["request_id"] for row in rows(url, "requests", "request_id, at")]
    assert 0 < len(remaining) < 3 * ROWS_PER_DELETE
    assert remaining[-1] == f"{3 * ROWS_PER_DELETE - 1:05}"


def test_a_purge_makes_the_file_smaller(file: str) -> None:
    fill(file, 2 * ROWS_PER_DELETE)
    path = Path(file.removeprefix("sqlite:///"))
    before = path.stat().st_size
    with opened(file) as database:
        assert purge(database, NOW + DAY) >= 6 * ROWS_PER_DELETE
    assert path.stat().st_size < before / 2


def test_many_expired_requests_are_deleted_in_several_calls(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safelight.records.retention.ROWS_PER_DELETE", 10)
    fill(file, 250)
    with opened(file) as database:
        assert enforce_limits(database, Limits(retention_seconds=1), NOW + DAY)
        assert info(database).rows["requests"] == 50
        assert not enforce_limits(database, Limits(retention_seconds=1), NOW + DAY)
        contents = info(database)
    assert contents.rows == dict.fromkeys(TABLES, 0)
    assert (contents.oldest, contents.newest) == (None, None)


def test_a_store_deletes_expired_requests_once_a_minute(file: str) -> None:
    fill(file, 3)
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
