"""The recorder in its own process: each record is stored once or counted, whatever happens."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from safelight.errors import InvalidParameter, Overloaded, RecordsUnusable
from safelight.metrics.registry import Meter
from safelight.records.buffer import Pending
from safelight.records.config import StoreConfig
from safelight.records.messages import CALLS, ENCODER, Write, to_pending, to_write
from safelight.records.remote import RecorderProcess
from safelight.records.rows import DatabaseFailed, Rating, request_row
from safelight.records.store import BATCH, Store
from safelight.telemetry.record import Facts
from tests.records.making import (
    NOW,
    ORIGIN,
    OWNER,
    FakeClock,
    a_call,
    a_counterpart,
    a_record,
    an_assessment,
    counted,
    rows,
)
from tests.stack.waiting import eventually

SEEDS = range(3)
ENTRIES = 4000


@pytest.fixture
def recorder(file: str) -> Iterator[RecorderProcess]:
    running = RecorderProcess(StoreConfig(file, ORIGIN, samples=True), call_seconds=1.0)
    yield running
    running.close()


def pending(*contents: Any, rating: int | None = None) -> Pending:
    rated = {"one": (NOW, Rating("one", "t", rating, "slow"))} if rating else {}
    return Pending(tuple((NOW, content) for content in contents), rated)


def sent(*contents: Any) -> tuple[list[Any], int]:
    """Return what arrives of entries, and the number that is lost on the way."""
    call = CALLS.decode(ENCODER.encode(to_write(pending(*contents))))
    assert isinstance(call, Write)
    found, lost = to_pending(call)
    return [content for _, content in found.entries], lost


def ids(url: str) -> list[str]:
    return sorted(row["request_id"] for row in rows(url, "requests", "request_id, at"))


def process(recorder: RecorderProcess) -> psutil.Process:
    assert recorder.pid is not None
    return psutil.Process(recorder.pid)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────────


def test_a_record_an_assessment_and_a_pair_arrive_as_they_were_sent() -> None:
    call = a_call(phases={"denoise": 0.5}, guidance_asked=float("inf"), batch=3, model="pix")
    record = a_record(calls=(a_call(), call), degraded=("fewer_steps",), key="key", seed=2**62)
    assessment = an_assessment(before=b"\0\xff", after=b"x", structure=0.5)
    pair = a_counterpart(image=b"\0\xff", measures={"latency": 2.5})
    assert sent(record, pair, assessment) == ([record, assessment, pair], 0)
    assert sent(a_record(trace_id="", calls=(), seed=None, prompt=None))[1] == 0


def test_a_row_made_from_an_empty_request_is_the_same_on_the_other_side() -> None:
    record = replace(a_record(), facts=Facts())
    [arrived], _ = sent(record)
    assert request_row(arrived, NOW, ORIGIN, "s") == request_row(record, NOW, ORIGIN, "s")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "老 ✓", "x" * 100_000])
def test_no_text_of_a_caller_loses_a_record(text: str) -> None:
    [arrived], lost = sent(a_record(prompt=text, owner=text, key=text))
    assert lost == 0
    assert arrived.facts.prompt == text.replace("\ud800", "?")


@pytest.mark.parametrize(
    "bad", [{"status_code": {}}, {"stages": None}, {"seed": 2**70}, {"endpoint": object()}]
)
def test_an_entry_that_cannot_be_sent_or_read_is_lost_alone(bad: dict[str, Any]) -> None:
    found, lost = sent(a_record("good"), a_record(**bad), a_record("better"))
    assert [each.facts.id for each in found] == ["good", "better"]
    assert lost == 1


# ── The process ──────────────────────────────────────────────────────────────────────────────────


def test_it_writes_finds_forgets_and_tidies(recorder: RecorderProcess, file: str) -> None:
    contents = (a_record(), a_record("other"), an_assessment(after=b"x"), a_record(stages=None))
    assert recorder.write(pending(*contents, rating=4)) == (4, 1)
    [found] = recorder.find("one", OWNER)
    assert (found.request_id, found.rating, found.answered) == ("one", 4, True)
    assert recorder.find("one", "another") == []
    recorder.forget("one")
    assert ids(file) == ["other"]
    assert recorder.tidy(NOW) is False
    recorder.tidy(NOW + 40 * 86_400)
    assert ids(file) == []


def test_errors_of_the_caller_and_of_the_database_keep_their_types(
    recorder: RecorderProcess, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameter, match="request id"):
        recorder.find("a\0b", OWNER)
    (tmp_path / "noise").write_bytes(b"no database, but long enough to be read as one " * 100)
    broken = RecorderProcess(StoreConfig(f"sqlite:///{tmp_path}/noise", ORIGIN))
    with pytest.raises(DatabaseFailed, match="not a database"):
        broken.tidy(NOW)
    broken.close()
    with pytest.raises(RecordsUnusable, match="newer Safelight"):
        newer(recorder, tmp_path).tidy(NOW)


def newer(recorder: RecorderProcess, folder: Path) -> RecorderProcess:
    """Return the recorder of a database with a schema of the future."""
    recorder.tidy(NOW)
    recorder.close()
    with sqlite3.connect(folder / "state" / "records.db") as database:
        database.execute("UPDATE safelight_version SET version_num = '9999'")
    return recorder


def test_it_has_a_low_priority_and_the_caller_imports_no_database(
    recorder: RecorderProcess,
) -> None:
    recorder.tidy(NOW)
    assert process(recorder).nice() == min(19, os.nice(0) + 10)
    code = "import sys, safelight.serving.app; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_does_not_end_it(
    number: int, recorder: RecorderProcess, file: str
) -> None:
    recorder.tidy(NOW)
    first = recorder.pid
    process(recorder).send_signal(number)
    recorder.write(pending(a_record()))
    assert recorder.pid == first
    assert ids(file) == ["one"]


def test_a_stopped_one_is_replaced_after_its_time(recorder: RecorderProcess, file: str) -> None:
    recorder.tidy(NOW)
    stopped = process(recorder)
    stopped.suspend()
    with pytest.raises(DatabaseFailed, match="TimeoutError"):
        recorder.write(pending(a_record()))
    assert not stopped.is_running()
    recorder.write(pending(a_record()))
    assert ids(file) == ["one"]


def test_closing_it_ends_the_process_after_what_it_was_doing(recorder: RecorderProcess) -> None:
    recorder.tidy(NOW)
    running = process(recorder)
    recorder.close()
    assert not running.is_running()
    assert recorder.pid is None


SERVICE = """
import signal, sys
from safelight.records.config import StoreConfig
from safelight.records.remote import RecorderProcess
from tests.records.making import NOW, ORIGIN
recorder = RecorderProcess(StoreConfig(sys.argv[1], ORIGIN))
recorder.tidy(NOW)
print(recorder.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("is_stopped", [False, True])
def test_it_ends_with_a_service_that_is_killed(is_stopped: bool, file: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, file], stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        child = psutil.Process(int(service.stdout.readline()))
        if is_stopped:
            child.suspend()
        service.kill()
    eventually(lambda: not child.is_running(), within=10, what="the recorder has ended")


# ── Every record is accounted for ────────────────────────────────────────────────────────────────


class Moments:
    """Hurts a recorder at random moments."""

    def __init__(self, recorder: RecorderProcess, random: Random) -> None:
        self._recorder, self._random, self.hurt = recorder, random, 0

    def maybe(self) -> None:
        """Kill or stop the process, in one of eight cases."""
        pid = self._recorder.pid
        if pid is None or self._random.random() > 1 / 8:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, self._random.choice([signal.SIGKILL, signal.SIGSTOP]))
            self.hurt += 1


@pytest.mark.parametrize("seed", SEEDS)
def test_no_record_is_lost_or_written_twice_whenever_the_recorder_is_killed_or_stopped(
    seed: int, url: str
) -> None:
    random, meter, clock = Random(seed), Meter("tests"), FakeClock()
    recorder = RecorderProcess(StoreConfig(url, ORIGIN), call_seconds=0.3)
    store = Store(StoreConfig(url, ORIGIN), meter, recorder, clock=clock, timer=clock)
    moments = Moments(recorder, random)
    for number in range(ENTRIES):
        store.write(a_record(f"{number:05}"))
        if random.random() < 1 / 200:
            moments.maybe()
            clock.now += store.step()
    assert moments.hurt
    while store.waiting:
        clock.now += 31
        store.step()
    store.close()
    assert ids(url) == [f"{number:05}" for number in range(ENTRIES)]
    assert counted(meter, "lost") == 0
    assert counted(meter, "written") == ENTRIES


def test_while_the_recorder_is_stopped_memory_is_bounded_and_losses_are_counted(file: str) -> None:
    meter, clock = Meter("tests"), FakeClock()
    config = StoreConfig(file, ORIGIN, capacity=100)
    recorder = RecorderProcess(config, call_seconds=0.2)
    store = Store(config, meter, recorder, clock=clock, timer=clock)
    store.step()
    process(recorder).suspend()
    for number in range(1000):
        store.write(a_record(f"{number:05}"))
    store.step()
    assert store.waiting == 100
    assert counted(meter, "lost") == 900
    clock.now += 2
    store.step()
    store.close()
    assert len(ids(file)) == counted(meter, "written") == 100


def test_a_store_that_stops_while_its_recorder_is_stopped_counts_what_is_lost(file: str) -> None:
    meter = Meter("tests")
    config = StoreConfig(file, ORIGIN)
    recorder = RecorderProcess(config, call_seconds=0.5)
    store = Store(config, meter, recorder)
    store.start()
    eventually(lambda: recorder.pid is not None and not recorder._is_new, within=20, what="it runs")
    process(recorder).suspend()
    store.write(a_record())
    store.stop(20)
    assert store.waiting == 0
    assert counted(meter, "lost") + counted(meter, "written") == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_store_that_stops_just_after_its_recorder_was_hurt_writes_what_waits(
    number: int, file: str
) -> None:
    meter = Meter("tests")
    config = StoreConfig(file, ORIGIN)
    recorder = RecorderProcess(config, call_seconds=1.0)
    store = Store(config, meter, recorder)
    store.start()
    eventually(lambda: recorder.pid is not None and not recorder._is_new, within=20, what="it runs")
    process(recorder).send_signal(number)
    store.write(a_record())
    store.stop(20)
    assert (counted(meter, "written"), counted(meter, "lost")) == (1, 0)


def test_what_a_thread_writes_after_the_end_of_its_store_is_not_counted_twice(file: str) -> None:
    meter = Meter("tests")
    config = StoreConfig(file, ORIGIN)
    recorder = RecorderProcess(config, call_seconds=20)
    store = Store(config, meter, recorder)
    store.start()
    eventually(lambda: recorder.pid is not None and not recorder._is_new, within=20, what="it runs")
    stopped = process(recorder)
    stopped.suspend()
    store.write(a_record())
    store.stop(0.1)
    assert (counted(meter, "written"), counted(meter, "lost")) == (0, 1)
    stopped.resume()
    eventually(lambda: not stopped.is_running(), within=20, what="its thread has ended")
    assert (counted(meter, "written"), counted(meter, "lost"), store.waiting) == (0, 1, 0)


class Account:
    """A store with a recorder process, and what was put into it. The test moves the clock."""

    def __init__(self, url: str, *, capacity: int = 500, call_seconds: float = 5.0) -> None:
        config = StoreConfig(url, ORIGIN, capacity=capacity)
        self.url, self.meter, self.clock, self.put = url, Meter("tests"), FakeClock(), 0
        self.recorder = RecorderProcess(config, call_seconds=call_seconds)
        self.store = Store(config, self.meter, self.recorder, clock=self.clock, timer=self.clock)
        self.store.step()  # it runs

    def write(self, number: int) -> None:
        for _ in range(number):
            self.store.write(a_record(f"{self.put:05}", prompt="x" * 500))
            self.put += 1

    def later(self) -> float:
        """Take the next step when it is due. Return the pause after it."""
        self.clock.now += 31
        return self.store.step()

    def settled(self) -> tuple[float, float]:
        """Return how many entries are (written, lost), when none waits."""
        while self.store.waiting:
            self.later()
        self.store.close()
        return counted(self.meter, "written"), counted(self.meter, "lost")

    def balance(self) -> float:
        """Return how many entries are written, lost or waiting."""
        counts = counted(self.meter, "written") + counted(self.meter, "lost")
        return counts + self.store.waiting


@pytest.fixture
def account(file: str) -> Iterator[Account]:
    opened = Account(file)
    yield opened
    opened.store.close()


def test_a_full_disk_loses_only_what_does_not_fit_the_buffer(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    account.write(100)
    account.later()
    child = process(account.recorder)
    child.rlimit(psutil.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    for _ in range(5):
        account.write(150)
        assert account.later() >= 1
        assert account.balance() == account.put
    assert account.store.waiting == 500
    assert len(caplog.records) == 1, "the reason is logged once"
    assert "disk" in caplog.text
    child.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert account.settled() == (600, 250)
    assert ids(account.url) == [f"{number:05}" for number in range(600)]


def test_a_file_that_another_program_locks_for_long_loses_only_what_does_not_fit(
    file: str, caplog: pytest.LogCaptureFixture
) -> None:
    account = Account(file, capacity=150, call_seconds=0.3)
    other = sqlite3.connect(file.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for reason in ("TimeoutError", "database is locked"):  # a new recorder has longer to begin
        caplog.clear()
        account.store._failures = 0  # the next reason is logged too
        account.write(100)
        account.later()
        assert reason in caplog.text
        assert account.balance() == account.put
    other.close()
    assert account.settled() == (150, 50)
    assert len(ids(file)) == 150


LONG = "老" * 100_000
LARGEST = {
    "endpoint": LONG,
    "error": LONG,
    "seconds": 1e308,
    "stages": {f"{LONG[:1000]}{number}": 1e308 for number in range(100)},
    "calls": tuple(a_call(step_seconds=(0.1,) * 1000, pipeline=LONG) for _ in range(256)),
    "degraded": (LONG,) * 10,
    "seed": 2**63 - 1,
    "trace_id": LONG,
    "prompt": LONG,
    "owner": LONG,
    "key": LONG,
    "instruction_type": LONG,
}


def test_records_of_any_size_are_stored_or_counted_and_never_stop_the_others(
    account: Account,
) -> None:
    account.store.write(a_record("largest", **LARGEST))
    account.store.write(a_record("x" * 100_000))
    account.store.write(a_record("too large", seed=2**64 - 1))
    account.store.write(a_record("small"))
    account.later()
    assert account.settled() == (3, 1)
    assert ids(account.url) == ["largest", "small", "x" * 80]


def test_a_whole_batch_of_the_largest_records_is_written(account: Account) -> None:
    for number in range(BATCH):
        account.store.write(a_record(f"{number}", prompt="老" * 10_000, calls=LARGEST["calls"]))
    account.recorder._call_seconds = 30
    account.later()
    assert account.settled() == (BATCH, 0)


def test_a_flood_of_ratings_is_bounded_and_each_one_is_written_or_refused(account: Account) -> None:
    ratings, refused = [Rating(str(number), "t", 5, "slow") for number in range(3000)], 0
    process(account.recorder).suspend()
    for rating in ratings * 2:
        with suppress(Overloaded):
            account.store.rate(rating)
            continue
        refused += 1
    assert account.store.waiting == 500
    process(account.recorder).resume()
    assert account.settled() == (500, 0)
    assert counted(account.meter, "refused") == refused == 2 * 2500
    assert len(rows(account.url, "ratings")) == 500


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_and_rating_is_accounted_for_at_each_moment(seed: int, file: str) -> None:
    random, account = Random(seed), Account(file, call_seconds=0.3)
    moments = Moments(account.recorder, random)
    rated: list[str] = []
    while account.put < ENTRIES or not moments.hurt:
        account.write(random.randrange(200))
        rated.append(f"{len(rated):05}")
        account.store.rate(Rating(rated[-1], "t", random.randint(1, 5), "slow"))
        moments.maybe()
        account.clock.now += random.uniform(0, 3)
        account.store.step()
        assert account.balance() == account.put + len(rated)
    written, lost = account.settled()
    assert written + lost == account.put + len(rated)
    assert len(ids(file)) == len(set(ids(file))) == account.put - lost
    assert [row["request_id"] for row in rows(file, "ratings", "request_id, at")] == rated
