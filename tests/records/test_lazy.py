"""The records of a watched service, behind real servers and in processes that fork."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from textwrap import dedent

import psutil
import pytest

from safelight.metrics.catalog import RECORDS, RECORDS_WAITING
from safelight.metrics.registry import Meter, where
from safelight.records.config import StoreConfig
from safelight.records.lazy import LazyStore
from safelight.telemetry.refusals import PER_SECOND
from tests.metrics.processes.servers import SERVERS, Server, serving, wait_until
from tests.records.making import ORIGIN, a_record, counted, rows
from tests.stack.waiting import all_gone, eventually, process_tree

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stored(file: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Let servers keep records. Return what reads the ids of those that are stored."""
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", file)
    return lambda: [row["request_id"] for row in rows(file, "requests", "request_id, at")]


def kept(server: Server, outcome: str = "written") -> float:
    """Return the number of records with an outcome on the page of all workers."""
    found = where(server.samples(), RECORDS.full_name("diffusion"), outcome=outcome)
    return sum(value for _, value in found)


def waiting(server: Server) -> float:
    """Return the number of records that wait, on the page of all workers."""
    found = where(server.samples(), RECORDS_WAITING.full_name("diffusion"))
    return sum(value for _, value in found)


def recorders(server: Server) -> list[psutil.Process]:
    """Return the recorder processes below a server."""
    return [one for one in process_tree(server.process.pid) if is_recorder(one)]


def own_recorders() -> list[psutil.Process]:
    """Return the recorder processes of this one."""
    return [one for one in psutil.Process().children() if is_recorder(one)]


def is_recorder(process: psutil.Process) -> bool:
    """Return whether a process is a recorder; not if it has ended, as one of another test may."""
    try:
        return "safelight.records.child" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


# ── Servers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SERVERS)
def test_every_record_of_two_workers_is_stored_once_also_at_the_end(
    name: str, stored: Callable[[], list[str]], tmp_path: Path
) -> None:
    with serving(tmp_path, name) as server:
        assert not recorders(server), "nothing is started before the first record"
        sent = server.ask_both("/draw")
        wait_until(lambda: kept(server) == sent)
        assert kept(server, "lost") == 0
        assert {parent_of(each) for each in recorders(server)} == set(server.workers())
        processes = process_tree(server.process.pid)
        sent += len(server.ask("/draw", 10))
        server.stop()  # which writes what waits
        eventually(lambda: all_gone(processes), within=20, what="no process is left")
    assert len(stored()) == len(set(stored())) == sent


def parent_of(process: psutil.Process) -> int:
    return int(process.ppid())


def test_a_server_without_workers_writes_what_waits_when_it_stops(
    stored: Callable[[], list[str]], tmp_path: Path
) -> None:
    with serving(tmp_path, "alone") as server:
        sent = len(server.ask("/draw", 10))
        server.stop()
    assert len(stored()) == sent


@pytest.mark.parametrize("name", ["uvicorn", "preload"])
def test_a_killed_worker_leaves_no_recorder(
    name: str, stored: Callable[[], list[str]], tmp_path: Path
) -> None:
    with serving(tmp_path, name) as server:
        sent = server.ask_both("/draw")
        wait_until(lambda: kept(server) == sent)
        [recorder] = [one for one in recorders(server) if one.ppid() == server.workers()[0]]
        os.kill(server.workers()[0], signal.SIGKILL)
        eventually(lambda: all_gone([recorder]), within=20, what="its recorder has ended")
        sent += len(server.ask("/draw", 10))
        wait_until(lambda: kept(server) == sent)
    assert len(stored()) == sent


def test_requests_go_on_while_every_recorder_is_stopped(
    stored: Callable[[], list[str]], tmp_path: Path
) -> None:
    with serving(tmp_path, "sync") as server:
        sent = server.ask_both("/draw")
        wait_until(lambda: kept(server) == sent)
        stopped = recorders(server)
        for each in stopped:
            each.suspend()
        sent += len(server.ask("/draw", 20))
        wait_until(lambda: waiting(server) + kept(server) == sent)
        assert waiting(server)
        for each in stopped:
            each.resume()
        wait_until(lambda: kept(server) == sent)
    assert len(stored()) == sent


@pytest.mark.parametrize("name", ["uvicorn", "gthread"])
def test_requests_go_on_while_recorders_are_killed_and_each_record_is_stored_once(
    name: str, stored: Callable[[], list[str]], tmp_path: Path
) -> None:
    random, sent = Random(name), 0
    with serving(tmp_path, name) as server:
        for _ in range(6):
            sent += len(server.ask("/draw", random.randrange(60)))
            for each in recorders(server):
                if random.random() < 0.7:
                    each.kill()
        sent += server.ask_both("/draw")
        wait_until(lambda: kept(server) == sent)
        assert kept(server, "lost") == 0
    assert len(stored()) == len(set(stored())) == sent


# ── Processes ────────────────────────────────────────────────────────────────────────────────────

HEAD = """
import os, psutil, signal, sys, time
from safelight.metrics.registry import Meter
from safelight.records.config import StoreConfig
from safelight.records.lazy import LazyStore
from tests.records.making import ORIGIN, a_record
from tests.stack.waiting import eventually
store = LazyStore(StoreConfig(sys.argv[1], ORIGIN), Meter("tests"))
"""


def running(program: str, url: str) -> "subprocess.Popen[str]":
    """Start a program that has a store."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + dedent(program), url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_the_end_of_the_interpreter_writes_what_waits(
    stored: Callable[[], list[str]], file: str
) -> None:
    with running("store.write(a_record('one')); store.write(a_record('two'))", file) as program:
        program.wait(20)
    assert stored() == ["one", "two"]


def test_a_forked_process_writes_its_own_records_and_none_of_the_other(
    stored: Callable[[], list[str]], file: str
) -> None:
    program = """
        store.write(a_record("before"))
        if child := os.fork():
            os.waitpid(child, 0)
            store.write(a_record("parent"))
        else:
            store.write(a_record("child"))
            store.stop()
            os._exit(0)
    """
    with running(program, file) as parent:
        parent.wait(30)
    assert sorted(stored()) == ["before", "child", "parent"]


def test_a_process_forked_by_multiprocessing_writes_what_waits_when_it_ends(
    stored: Callable[[], list[str]], file: str
) -> None:
    program = """
        from multiprocessing import get_context
        process = get_context("fork").Process(target=lambda: store.write(a_record("child")))
        process.start(); process.join()
    """
    with running(program, file) as parent:
        parent.wait(30)
    assert stored() == ["child"]


def test_a_recorder_ends_with_its_process_although_a_forked_one_lives_on(file: str) -> None:
    program = """
        store.write(a_record())
        [recorder] = eventually(psutil.Process().children, within=20, what="it runs")
        if not (child := os.fork()):
            signal.pause()
        print(recorder.pid, child, flush=True)
        signal.pause()
    """
    with running(program, file) as parent:
        assert parent.stdout is not None
        recorder, forked = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
        parent.kill()
        try:
            eventually(lambda: all_gone([recorder]), within=20, what="the recorder has ended")
            assert forked.is_running()
        finally:
            forked.kill()


def test_forks_at_any_moment_keep_no_recorder_alive(
    stored: Callable[[], list[str]], file: str
) -> None:
    program = """
        import threading
        from safelight.telemetry.helper import _STOP_SECONDS
        def work():
            for number in range(2):
                store.write(a_record(str(number)))
                began = time.monotonic()
                store.stop()
                longest.append(time.monotonic() - began)
        longest, children, pause = [], [], threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            if not (child := os.fork()):
                signal.pause()
            children.append(child)
            pause.wait(0.03)
        for child in children:
            os.kill(child, signal.SIGKILL)
        print(max(longest) < _STOP_SECONDS, len(children) > 10)
    """
    with running(program, file) as parent:
        assert parent.communicate(timeout=60)[0] == "True True\n"
    assert stored() == ["0", "1"]


def test_a_store_that_was_stopped_starts_again_and_one_that_was_closed_counts_losses(
    stored: Callable[[], list[str]], file: str
) -> None:
    meter = Meter("tests")
    store = LazyStore(StoreConfig(file, ORIGIN), meter)
    store.write(a_record("one"))
    store.stop()
    assert (stored(), own_recorders()) == (["one"], [])
    store.write(a_record("two"))
    store.close()
    store.write(a_record("three"))
    assert (stored(), own_recorders()) == (["one", "two"], [])
    assert (counted(meter, "written"), counted(meter, "lost")) == (2, 1)


def test_of_failures_before_the_model_a_few_a_second_are_kept(
    stored: Callable[[], list[str]], file: str
) -> None:
    store = LazyStore(StoreConfig(file, ORIGIN), Meter("tests"))
    for number in range(1000):
        store.write(a_record(str(number), status_code=400, error="bad_request", calls=()))
    store.close()
    assert PER_SECOND - 1 <= len(stored()) < 500
