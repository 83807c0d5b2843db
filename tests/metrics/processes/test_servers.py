"""Real servers with two workers: whichever worker answers a scrape, it answers for all."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from safelight.metrics.catalog import BUILD_INFO, HTTP_IN_PROGRESS, HTTP_LAG
from safelight.metrics.registry import Samples, where
from tests.metrics.processes.servers import SERVERS, serving, total_of, wait_until

REQUESTS = 40


@pytest.mark.parametrize("name", SERVERS)
def test_w10_every_scrape_says_exactly_how_many_requests_came(name: str, tmp_path: Path) -> None:
    with serving(tmp_path, name) as server:
        sent = server.ask_both()
        server.settle(sent)
        assert {server.total() for _ in range(8)} == {sent}
        assert {total_of(server.samples_beside()) for _ in range(4)} == {sent}
        assert (server.total(BUILD_INFO), server.total(HTTP_IN_PROGRESS)) == (1, 0)
        server.stop()
        wait_until(lambda: not server.folders())


@pytest.mark.parametrize("name", ["uvicorn", "sync", "preload", "granian"])
def test_w10_the_requests_of_a_killed_worker_stay_in_the_count(name: str, tmp_path: Path) -> None:
    with serving(tmp_path, name) as server:
        server.ask("/hello", REQUESTS)
        server.settle(REQUESTS)
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(set(server.workers()) - {killed}) == 2)
        assert {server.total() for _ in range(5)} == {REQUESTS}
        server.ask("/hello", 10)
        server.settle(REQUESTS + 10)
        assert {server.total() for _ in range(5)} == {REQUESTS + 10}
        assert len(server.workers()) == 2


def test_w10_recycled_workers_leave_their_counts_and_no_files(tmp_path: Path) -> None:
    with serving(tmp_path, "sync", "--max-requests", "8") as server:
        totals, workers = [], set()
        for _ in range(REQUESTS):
            workers.update(server.ask("/hello"))
            totals.append(server.total())
        server.settle(REQUESTS)
        assert len(workers) >= 4
        assert totals == sorted(totals)
        assert totals[-1] == REQUESTS
        wait_until(lambda: len(server.workers()) == 2)
        assert sum(len(list(folder.iterdir())) for folder in server.folders()) == 5


def test_w10_a_blocked_worker_stays_in_the_count(tmp_path: Path) -> None:
    with serving(tmp_path, "uvicorn") as server, ThreadPoolExecutor(1) as pool:
        server.ask("/hello", REQUESTS)
        server.settle(REQUESTS)
        blocked = pool.submit(server.ask, "/block")
        # By the port beside: the same worker could accept a request to its own before it blocks.
        wait_until(lambda: total_of(server.samples_beside(), HTTP_IN_PROGRESS) == 1)
        assert {server.total() for _ in range(5)} == {REQUESTS}
        assert not blocked.done()


def test_the_own_port_answers_and_measures_while_a_handler_blocks(tmp_path: Path) -> None:
    with serving(tmp_path, "alone") as server, ThreadPoolExecutor(1) as pool:
        server.ask("/hello")
        blocked = pool.submit(server.ask, "/block")
        wait_until(lambda: lag_of(server.samples_beside()) > 0.5)
        assert not blocked.done()
        blocked.result()
        assert 3 < lag_of(server.samples_beside()) < 6


def lag_of(samples: Samples) -> float:
    return sum(value for _, value in where(samples, f"{HTTP_LAG.name}_sum"))


def test_the_next_start_removes_the_files_of_a_server_that_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path, "sync") as killed:
        for pid in (killed.process.pid, *killed.workers()):
            os.kill(pid, signal.SIGKILL)
        killed.process.wait()
        assert killed.folders()
        with serving(tmp_path, "sync") as server:
            assert not killed.folders()
            assert total_of(server.samples()) == 0
