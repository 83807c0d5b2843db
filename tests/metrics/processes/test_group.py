import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.metrics.catalog import (
    GPU_TEMPERATURE,
    HOST_SENT,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    IN_FLIGHT,
    MODEL_INFO,
    REQUEST_MAX,
    TEXT_GUIDANCE,
)
from safelight.metrics.metric import OTHER
from safelight.metrics.processes.folder import VALUES
from safelight.metrics.series import COUNTS, VALUE, exemplars
from tests.metrics.processes.other import Member, other

PATH = ("/", "GET", "200")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Member]:
    """Return this process as a member of the group; the other one is a child process."""
    member = Member(tmp_path)
    yield member
    member.group.leave()


def total(member: Member) -> float:
    return sum(row[VALUE] for row in member.rows(HTTP_REQUESTS).values())


def test_counters_and_histograms_of_all_processes_are_summed(tmp_path: Path, one: Member) -> None:
    with other(tmp_path) as two:
        one.enter(HTTP_REQUESTS, *PATH, amount=2)
        one.enter(HTTP_SECONDS, *PATH[:2], amount=0.25)
        two.enter(HTTP_REQUESTS, *PATH, amount=3)
        two.enter(HTTP_REQUESTS, "/b", "GET", "200")
        two.enter(HTTP_SECONDS, *PATH[:2], amount=0.5)
        assert total(one) == 6
        row = one.rows(HTTP_SECONDS)[PATH[:2]]
        assert (row[VALUE], sum(row[COUNTS : COUNTS + 16])) == (0.75, 2)


def test_each_gauge_follows_its_rule(tmp_path: Path, one: Member) -> None:
    with other(tmp_path) as two:
        info = ("m", "P", "S", "float32", "cpu", "none")
        one.enter(IN_FLIGHT, amount=2)
        one.enter(MODEL_INFO, *info)
        one.enter(TEXT_GUIDANCE, "asked", amount=7)
        one.enter(HOST_SENT, amount=900)
        two.enter(IN_FLIGHT, amount=3)
        two.enter(MODEL_INFO, *info)
        two.enter(TEXT_GUIDANCE, "asked", amount=4, now=2.0)
        two.enter(HOST_SENT, amount=1000)
        assert one.rows(IN_FLIGHT)[()][VALUE] == 5
        assert one.rows(MODEL_INFO)[info][VALUE] == 1
        assert one.rows(TEXT_GUIDANCE)[("asked",)][VALUE] == 4
        assert one.rows(HOST_SENT)[()][VALUE] == 1000


def test_the_counts_of_a_killed_process_stay_and_its_gauges_end(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path) as two:
        two.enter(HTTP_REQUESTS, *PATH, amount=3)
        two.enter(IN_FLIGHT, amount=3)
        one.enter(HTTP_REQUESTS, *PATH)
        two.kill()
        seen = {total(one) for _ in range(3)}  # the first one moves the counts into the archive
    assert seen == {4}
    assert one.rows(IN_FLIGHT) == {}
    assert len(list(tmp_path.glob(f"*/*{VALUES}"))) == 1


def test_z6_the_longest_request_of_all_processes_is_shown_also_of_a_killed_one(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path) as two:
        one.enter(REQUEST_MAX, amount=2)
        two.enter(REQUEST_MAX, amount=7)
        assert one.rows(REQUEST_MAX)[()][VALUE] == 7
        two.kill()
        assert {one.rows(REQUEST_MAX)[()][VALUE] for _ in range(3)} == {7}


def test_the_counts_of_a_process_that_left_stay(tmp_path: Path, one: Member) -> None:
    for _ in range(2):
        with other(tmp_path) as two:
            two.enter(HTTP_REQUESTS, *PATH, amount=3)
            two.leave()
    assert total(one) == 6
    assert len(list(tmp_path.glob("*/*"))) == 4  # its file, the archive, the list, the lock


def test_a_stopped_process_delays_no_scrape_and_lowers_no_sum(tmp_path: Path, one: Member) -> None:
    with other(tmp_path) as two:
        two.enter(HTTP_REQUESTS, *PATH, amount=3)
        two.enter(IN_FLIGHT, amount=1)
        os.kill(two.pid, signal.SIGSTOP)
        assert total(one) == 3
        assert one.rows(IN_FLIGHT)[()][VALUE] == 1


def test_another_address_under_the_same_supervisor_is_not_counted(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path, address=8001.0) as two:
        two.enter(HTTP_REQUESTS, *PATH, amount=3)
        one.enter(HTTP_REQUESTS, *PATH)
        assert total(one) == 1
        two.leave()
        assert total(one) == 1


def test_another_name_is_another_group(tmp_path: Path, one: Member) -> None:
    with other(tmp_path, name="second") as two:
        two.enter(HTTP_REQUESTS, *PATH, amount=3)
        one.enter(HTTP_REQUESTS, *PATH)
        assert total(one) == 1


def test_a_process_without_a_request_is_not_counted_if_it_serves_another_port(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path, address=0.0) as two:
        two.enter(IN_FLIGHT, amount=3)
        one.enter(IN_FLIGHT, amount=1)
        assert one.rows(IN_FLIGHT)[()][VALUE] == 1


def test_all_processes_fold_the_same_series(tmp_path: Path, one: Member) -> None:
    with other(tmp_path) as two:
        for number in range(HTTP_REQUESTS.series // 2 + 10):
            one.enter(HTTP_REQUESTS, f"/one{number}", "GET", "200")
            two.enter(HTTP_REQUESTS, f"/two{number}", "GET", "200")
        rows = one.rows(HTTP_REQUESTS)
    assert len(rows) == HTTP_REQUESTS.series
    assert sum(row[VALUE] for row in rows.values()) == HTTP_REQUESTS.series + 20
    assert rows[(OTHER,) * 3][VALUE] == 21


def test_a_forgotten_series_is_gone_once_no_process_has_it(tmp_path: Path, one: Member) -> None:
    with other(tmp_path) as two:
        one.enter(GPU_TEMPERATURE, "0", amount=50)
        two.enter(GPU_TEMPERATURE, "0", amount=51)
        one.table.forget(GPU_TEMPERATURE, ("0",))
        assert one.rows(GPU_TEMPERATURE)[("0",)][VALUE] == 51
        two.leave()
        assert one.rows(GPU_TEMPERATURE) == {}


def test_the_last_exemplar_of_a_bucket_is_kept_also_of_an_ended_process(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path) as two:
        one.enter(HTTP_SECONDS, *PATH[:2], amount=0.3, trace="1" * 32)
        two.enter(HTTP_SECONDS, *PATH[:2], amount=0.4, now=2.0, trace=TRACE)
        two.enter(HTTP_SECONDS, *PATH[:2], amount=9.0, now=2.0, trace=TRACE)
        alive = one.rows(HTTP_SECONDS)
        two.leave()
    assert one.rows(HTTP_SECONDS) == alive
    seen = [each for each in exemplars(HTTP_SECONDS, alive[PATH[:2]]) if each]
    assert seen == [({"trace_id": TRACE}, 0.4, 2.0), ({"trace_id": TRACE}, 9.0, 2.0)]


def test_the_processor_time_of_an_ended_process_stays_in_the_sum(
    tmp_path: Path, one: Member
) -> None:
    with other(tmp_path) as two:
        snapshot = one.group.read()
        assert snapshot.cpu_seconds({os.getpid(): 5.0, two.pid: 7.0}) == 12
        two.kill()
        assert one.group.read().cpu_seconds({os.getpid(): 6.0}) == 13
        assert one.group.read().cpu_seconds({os.getpid(): 6.0}) == 13


def test_the_last_process_removes_everything_if_no_request_came(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    Member(base, address=0.0).group.leave()
    assert not base.exists()


def test_the_last_process_of_a_supervisor_that_works_itself_removes_everything(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    Member(base, supervisor=os.getpid()).group.leave()
    assert not base.exists()


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight.metrics.processes.member.mmap.mmap", _full)
    with pytest.raises(OSError, match="full"):
        Member(tmp_path)
    assert [path for path in tmp_path.glob("*/*") if path.name not in ("lock", "series")] == []


def _full(*_: object) -> None:
    raise OSError("The disk is full.")
