"""Database failures: no confirmed entry is lost, and no request fails."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import time

import pytest
from sqlalchemy import Engine

from safelight.errors import Overloaded, RecordsUnusable
from safelight.metrics.catalog import RECORDS_WAITING, USER_RATING
from safelight.metrics.registry import Meter, parse
from safelight.records.buffer import MAX_SAMPLE_BYTES, Buffer
from safelight.records.config import Limits
from safelight.records.database import open_database
from safelight.records.ratings import Ratings
from safelight.records.recorder import Recorder
from safelight.records.rows import Rating
from safelight.records.store import Store
from tests.records.making import OWNER, FakeClock, a_record, a_store, an_assessment, counted, rows
from tests.records.postgres import Postgres, postgres
from tests.stack.waiting import eventually

DAY = 86_400.0
UNREACHABLE = "postgresql://postgres@127.0.0.1:1/nobody"


def engine_of(store: Store) -> Engine:
    assert isinstance(store._recorder, Recorder)
    assert store._recorder._database is not None
    return store._recorder._database.engine


def execute(store: Store, *statements: str) -> None:
    """Run statements on the store's connection."""
    connection = engine_of(store).raw_connection()
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


def test_without_a_server_records_wait_in_memory_and_are_then_lost(server: Postgres) -> None:
    clock = FakeClock()
    store, meter = a_store(UNREACHABLE, clock, capacity=10)
    pauses = []
    for _ in range(8):
        pauses.append(store.step())
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]

    for number in range(15):
        store.write(a_record(str(number)))
    assert (store.waiting, counted(meter, "lost"), counted(meter, "written")) == (10, 5, 0)
    waiting = parse(meter.expose().body.decode())[RECORDS_WAITING.name, frozenset()]
    assert waiting == 10


@pytest.mark.parametrize("jump", [-DAY, DAY], ids=["back", "forward"])
def test_a_wall_clock_that_jumps_neither_stops_nor_hurries_the_store(jump: float) -> None:
    wall, timer = FakeClock(), FakeClock(100.0)
    store, _ = a_store(UNREACHABLE, wall, timer=timer)
    pauses = []
    for _ in range(4):
        pauses.append(store.step())
        wall.now += jump
        assert store.step() == pauses[-1], "the same pause still lasts"
        timer.now += pauses[-1]
    assert pauses == [1, 2, 4, 8]


def test_old_records_are_deleted_after_a_clock_that_was_ahead_is_set_right(file: str) -> None:
    wall, timer = FakeClock(), FakeClock(100.0)
    store, _ = a_store(file, wall, timer=timer, limits=Limits(retention_seconds=DAY))
    wall.now += 10 * DAY
    store.step()
    wall.now -= 10 * DAY
    store.write(a_record("old"))
    wall.now += 2 * DAY
    store.write(a_record("new"))
    timer.now += 61
    store.step()
    assert [row["request_id"] for row in rows(file, "requests")] == ["new"]


def test_without_a_server_tasks_fail_at_once(file: str) -> None:
    clock = FakeClock()
    store, _ = a_store(UNREACHABLE, clock)
    for _ in range(2):
        future = store.find("one", OWNER)
        store.step()
        with pytest.raises(RecordsUnusable, match="unavailable"):
            future.result(0)


@pytest.mark.parametrize(
    ("break_it", "repair", "message"),
    [
        (["PRAGMA max_page_count = 1"], ["PRAGMA max_page_count = 100000"], "full"),
        (["PRAGMA query_only = ON"], ["PRAGMA query_only = OFF"], "readonly"),
    ],
)
def test_a_full_or_read_only_database_gets_all_records_later(
    break_it: list[str],
    repair: list[str],
    message: str,
    file: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    store, meter = a_store(file, clock)
    store.step()
    execute(store, *break_it)
    names = [f"{number:03}" for number in range(300)]
    for name in names:
        store.write(a_record(name, prompt="x" * 500))
    assert store.step() == 1.0
    store.rate(Rating("000", "make_him_old", 4, "none"))
    clock.now += 1
    assert store.step() == 2.0
    assert message in caplog.text
    assert (counted(meter, "written"), store.waiting) == (0, 301)

    execute(store, *repair)
    clock.now += 2
    store.step()
    assert [row["request_id"] for row in rows(file, "requests")] == names
    assert (counted(meter, "written"), counted(meter, "lost")) == (301, 0)


def test_a_locked_file_gets_all_records_later(file: str) -> None:
    clock = FakeClock()
    store, meter = a_store(file, clock)
    store.step()
    execute(store, "PRAGMA busy_timeout = 20")
    other = sqlite3.connect(file.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        store.write(a_record())
        assert store.step() == 1.0
        assert (counted(meter, "written"), store.waiting) == (0, 1)
    finally:
        other.close()
    clock.now += 1
    store.step()
    assert counted(meter, "written") == 1


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    store, meter = a_store(f"sqlite:///{tmp_path / 'a' / 'b' / 'records.db'}")
    store.write(a_record())
    store.step()
    assert counted(meter, "written") == 1


@pytest.mark.parametrize("name", ["file/records.db", "noise"])
def test_an_unusable_path_fails_no_request(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "noise").write_bytes(b"no database, but long enough to be read as one " * 100)
    store, meter = a_store(f"sqlite:///{tmp_path / name}")
    store.write(a_record())
    assert store.step() == 1.0
    assert (store.waiting, counted(meter, "lost")) == (1, 0)
    assert (tmp_path / "noise").stat().st_size == 4700


def newer(url: str) -> None:
    """Give the database a schema version of the future."""
    database = open_database(url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE safelight_version SET version_num = '9999'")
    database.close()


def test_with_a_newer_schema_records_are_lost_but_ratings_wait(url: str) -> None:
    newer(url)
    clock = FakeClock()
    store, meter = a_store(url, clock)
    for number in range(3):
        store.write(a_record(str(number)))
    store.rate(Rating("0", "make_him_old", 4, "none"))

    assert store.step() == 30
    assert (counted(meter, "lost"), counted(meter, "written"), store.waiting) == (3, 0, 1)
    store.write(a_record())
    clock.now += 30
    assert store.step() == 30
    assert (counted(meter, "lost"), store.waiting) == (4, 1)
    with pytest.raises(RecordsUnusable, match=r"newer Safelight \(schema 9999"):
        open_database(url)


def test_a_missing_postgresql_driver_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    store, meter = a_store(UNREACHABLE)
    store.write(a_record())
    store.step()
    assert "safelight[postgres]" in caplog.text
    assert counted(meter, "lost") == 1


def test_no_password_and_no_prompt_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    store, _ = a_store(UNREACHABLE.replace("postgres@", "postgres:secret-word@"))
    store.write(a_record(prompt="secret-prompt"))
    store.step()
    output = caplog.text
    assert "records cannot be written" in output
    assert "secret" not in output


WRITER = """
import sys
from tests.records.making import a_record, a_store, counted
store, meter = a_store(sys.argv[1])
number = 0
while True:
    for _ in range(50):
        store.write(a_record(f"{number:06}", prompt="x" * 900))
        number += 1
    while store.waiting:
        store.step()
    print(number, flush=True)
"""


def test_a_killed_service_loses_no_confirmed_record(file: str) -> None:
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                lines = (process.stdout.readline() for _ in range(20))
                acknowledged = max(int(line) for line in lines)
            finally:
                process.send_signal(signal.SIGKILL)
        names = {row["request_id"] for row in rows(file, "requests", "request_id, at")}
        assert {f"{number:06}" for number in range(acknowledged)} <= names
    check = sqlite3.connect(file.removeprefix("sqlite:///"))
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def _has_written(meter: Meter, count: float) -> bool:
    return counted(meter, "written") >= count


def test_a_killed_server_loses_and_duplicates_no_record() -> None:
    with postgres() as server:
        store, meter = a_store(server.new_database(), time)
        url, sent, kills = store._config.url, 0, 0
        store.start()
        try:
            while kills < 2:
                for _ in range(400):
                    store.write(a_record(f"{sent:06}", prompt="x" * 900))
                    store.assess(an_assessment(f"{sent:06}"))
                    sent += 1
                store._wake.set()
                target = counted(meter, "written") + 200
                reached = partial(_has_written, meter, target)
                eventually(reached, within=30, what="some are written")
                acknowledged = counted(meter, "written")
                server.kill()
                kills += 1
                for _ in range(100):  # while the server is down
                    store.write(a_record(f"{sent:06}"))
                    sent += 1
                server.start()
                tables = ("requests", "assessments")
                stored = sum(len(rows(url, table, "request_id, at")) for table in tables)
                assert stored >= acknowledged
                store._retry_at = 0.0
                store._wake.set()
                eventually(lambda: not store.waiting, within=40, what="all is written")
        finally:
            store.stop(10)
        names = [row["request_id"] for row in rows(url, "requests", "request_id, at")]
    assert sorted(names) == [f"{number:06}" for number in range(sent)]
    assert counted(meter, "lost") == 0


def fill(buffer: Buffer, put: Callable[[int], bool]) -> int:
    return sum(put(number) for number in range(30))


def test_a_full_buffer_refuses_records_and_ratings() -> None:
    buffer = Buffer(10)
    assert fill(buffer, lambda n: buffer.put(0, a_record(str(n)))) == 10
    assert not buffer.assess(0, an_assessment())
    assert fill(buffer, lambda n: buffer.rate(0, Rating(str(n), "t", 3, "none"))) == 10
    assert buffer.rate(0, Rating("3", "t", 5, "none")), "a change needs no free place"
    assert len(buffer) == 20


def test_a_rating_is_refused_if_the_buffer_is_full_and_the_others_are_written(file: str) -> None:
    store, meter = a_store(file, FakeClock(), capacity=3)
    ratings = Ratings(meter, kept_seconds=60, clock=FakeClock())
    for name in "abcd":
        ratings.add_record(a_record(name))
    for name in "abc":
        ratings.rate(name, OWNER, 4, keep=store.rate)
    with pytest.raises(Overloaded, match=r"^3 ratings already wait .* in 30 seconds") as refused:
        ratings.rate("d", OWNER, 4, keep=store.rate)
    assert refused.value.retry_after_seconds == 30
    assert (counted(meter, "refused"), counted(meter, "lost")) == (1, 0)
    assert f'{USER_RATING.full_name("tests")}_count{{instruction_type="make_him_old"}} 3.0' in (
        meter.expose().body.decode()
    )

    assert ratings.rate("a", OWNER, 5, keep=store.rate)[1], "a change needs no free place"
    store.step()
    assert not ratings.rate("d", OWNER, 1, keep=store.rate)[1], "a refused rating does not count"
    store.step()
    found = {row["request_id"]: row["rating"] for row in rows(file, "ratings")}
    assert found == {"a": 5, "b": 4, "c": 4, "d": 1}


def test_the_bytes_of_waiting_thumbnails_are_bounded() -> None:
    buffer, size = Buffer(10_000), 64 * 1024
    for number in range(400):
        assert buffer.assess(0, an_assessment(str(number), after=b"x" * size))
    entries = buffer.take(10_000).entries
    size = sum(len(getattr(content, "after", b"")) for _, content in entries)
    assert size == MAX_SAMPLE_BYTES
    buffer.done(buffer.take(10_000))
    buffer.assess(0, an_assessment("later", after=b"x"))
    [(_, later)] = buffer.take(1).entries
    assert getattr(later, "after", b"") == b"x"


def test_a_rating_changed_while_it_is_written_is_written_again() -> None:
    buffer = Buffer(10)
    buffer.rate(0, Rating("one", "t", 1, "none"))
    pending = buffer.take(5)
    buffer.rate(1, Rating("one", "t", 2, "none"))
    buffer.done(pending)
    [(_, again)] = buffer.take(5).ratings.values()
    assert again.rating == 2
