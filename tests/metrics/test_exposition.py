import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from safelight.metrics.catalog import HTTP_REQUESTS, QUEUE_DEPTH
from safelight.metrics.exposition import families, of_process, of_processes
from safelight.metrics.metric import Metric
from safelight.metrics.processes.group import Snapshot
from safelight.metrics.registry import Meter
from safelight.metrics.series import width
from safelight.stories.replay import free_port
from tests.stack.waiting import eventually

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def row(metric: Metric, value: float) -> list[float]:
    return [1.0, value, *[0.0] * (width(metric) - 2)]


def process(pid: int | str) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in of_process(pid)}


def test_a_metric_is_written_once_with_all_its_series() -> None:
    rows = [
        (HTTP_REQUESTS, ("/", "GET", "200"), row(HTTP_REQUESTS, 2)),
        (QUEUE_DEPTH, (), row(QUEUE_DEPTH, 7)),
        (HTTP_REQUESTS, ("/", "POST", "200"), row(HTTP_REQUESTS, 3)),
    ]
    requests, depth = families(rows, "pix")
    assert (requests.name, depth.name) == ("http_requests", "pix_queue_depth")
    assert [sample.value for sample in requests.samples] == [2, 3]
    assert {sample.name for sample in requests.samples} == {"http_requests_total"}


@needs_proc
def test_workers_are_written_as_one_process() -> None:
    program = "files = [open('/dev/null') for _ in range(400)]; print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        files = {os.getpid(): [0.0] * 8, other.pid: [0.0] * 8}
        snapshot = Snapshot([], os.getppid(), files, ended_cpu_seconds=1000.0)
        own, others = process("self"), process(other.pid)
        together = {family.name: family.samples[0].value for family in of_processes(snapshot)}
        other.kill()
    assert together["process_resident_memory_bytes"] > max(
        own["process_resident_memory_bytes"], others["process_resident_memory_bytes"]
    )
    assert together["process_cpu_seconds"] >= 1000 + own["process_cpu_seconds"]
    assert together["process_open_fds"] == others["process_open_fds"] > 400
    started = process(os.getppid())["process_start_time_seconds"]
    assert together["process_start_time_seconds"] == started
    assert together.keys() == own.keys()


@needs_proc
def test_the_processor_time_does_not_fall_when_a_worker_ends() -> None:
    files = {os.getpid(): [0.0] * 8, 4_000_000: [0.0, 50.0, *[0.0] * 6]}
    together = of_processes(Snapshot([], os.getppid(), files, ended_cpu_seconds=0.0))
    [seconds] = [f.samples[0].value for f in together if f.name == "process_cpu_seconds"]
    assert seconds > 50


def test_half_sent_requests_take_few_threads_and_keep_no_other_caller_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    stop, before = Meter("pix").serve(port), threading.active_count()
    try:
        with ExitStack() as attack:
            callers = [
                attack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                for _ in range(100)
            ]
            for caller in callers:
                with suppress(OSError):
                    caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: local")
            assert httpx.get(f"http://127.0.0.1:{port}/metrics").is_success
            with suppress(ConnectionResetError):
                assert callers[0].recv(1) == b""
            eventually(
                lambda: threading.active_count() <= before + 32, within=10, what="few threads"
            )
    finally:
        stop()
    assert capfd.readouterr() == ("", "")


def test_a_caller_of_the_metrics_who_sends_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("safelight.metrics.exposition._Silent.timeout", 0.1)
    port = free_port()
    stop = Meter("pix").serve(port)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
            assert caller.recv(1) == b""
    finally:
        stop()
    assert capfd.readouterr() == ("", "")
