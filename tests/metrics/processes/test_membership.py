import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from safelight.metrics.processes.membership import _number_of

SETUP = """
import os, sys, threading
from contextlib import ExitStack
from multiprocessing import get_context
from safelight.metrics.catalog import HTTP_REQUESTS, IN_FLIGHT
from safelight.metrics.registry import Meter, parse, where

def total(meter, metric=HTTP_REQUESTS):
    samples = parse(meter.expose().body.decode())
    return sum(value for _, value in where(samples, metric.full_name(meter.namespace)))

def count(meter, amount=1):
    meter.add(HTTP_REQUESTS, "/", "GET", "200", amount=amount)

def forked(work):
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(work()).encode())
        os._exit(0)
    os.wait()
    return os.read(read, 1000).decode()

def serving(namespace="pix", port=8000):
    meter = Meter(namespace)
    meter.membership.join(ExitStack())
    meter.membership.serve_at(("127.0.0.1", port))
    return meter
"""


def run(program: str, folder: Path, **environment: str) -> list[str]:
    """Run a program in a process of its own, and return the lines that it prints."""
    file = folder / "program.py"  # a file, which the processes that it starts import
    file.write_text(SETUP + dedent(program))
    done = subprocess.run(
        [sys.executable, file],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_process_that_is_no_worker_keeps_its_counts_to_itself(tmp_path: Path) -> None:
    program = """
        count(meter := serving())
        loaded = "safelight.metrics.processes.group" in sys.modules
        print(total(meter), meter.membership.read(), loaded)
    """
    assert run(program, tmp_path) == ["1.0 None False"]


def test_a_forked_process_counts_from_0(tmp_path: Path) -> None:
    program = """
        count(meter := Meter("pix"), 5)
        meter.add(IN_FLIGHT)
        def work():
            count(meter, 2)
            return total(meter), total(meter, IN_FLIGHT)
        print(forked(work), total(meter), total(meter, IN_FLIGHT))
    """
    assert run(program, tmp_path) == ["(2.0, 0.0) 5.0 1.0"]


def test_a_forked_process_counts_although_another_thread_was_counting(tmp_path: Path) -> None:
    program = """
        meter, go = Meter("pix"), threading.Event()
        def busy():
            while not go.is_set():
                count(meter)
        thread = threading.Thread(target=busy); thread.start()
        def work():
            count(meter, 2)
            return total(meter)
        print({forked(work) for _ in range(50)})
        go.set(); thread.join()
    """
    assert run(program, tmp_path) == ["{'2.0'}"]


def test_processes_forked_after_watch_count_together_from_their_first_request_on(
    tmp_path: Path,
) -> None:
    program = """
        meter = serving()
        def serve():
            meter.membership.serve_at(("127.0.0.1", 8000))
            count(meter, 2)
            return total(meter)
        print([forked(serve) for _ in range(3)])
    """
    assert run(program, tmp_path) == ["['2.0', '4.0', '6.0']"]


def test_workers_of_multiprocessing_count_together(tmp_path: Path) -> None:
    program = """
        def work(lines, port):
            count(meter := serving(port=port), 2)
            lines.put(total(meter))

        if __name__ == "__main__":
            context = get_context("spawn")
            lines = context.Queue()
            for port in (8000, 8000, 8001):
                process = context.Process(target=work, args=(lines, port))
                process.start(); print(lines.get()); process.join()
    """
    assert run(program, tmp_path) == ["2.0", "4.0", "2.0"]


def test_w10_two_meters_of_a_worker_do_not_mix(tmp_path: Path) -> None:
    program = """
        def work(lines):
            one, two, other = serving(), serving(), serving("zimage")
            count(one, 2); count(two, 3); count(other, 4)
            lines.put((total(one), total(two), total(other)))

        if __name__ == "__main__":
            context = get_context("spawn")
            lines = context.Queue()
            for _ in range(2):
                process = context.Process(target=work, args=(lines,))
                process.start(); print(lines.get()); process.join()
    """
    assert run(program, tmp_path) == ["(2.0, 3.0, 4.0)", "(4.0, 6.0, 8.0)"]


def test_when_one_application_of_a_worker_is_shut_down_all_its_meters_leave(tmp_path: Path) -> None:
    program = """
        def work(lines):
            one, two = serving(), serving()
            count(one, 2); count(two, 3)
            two.membership.shut_down()
            lines.put((one.membership.is_worker, two.membership.is_worker, total(one), total(two)))

        if __name__ == "__main__":
            context = get_context("spawn")
            lines = context.Queue()
            process = context.Process(target=work, args=(lines,))
            process.start(); print(lines.get()); process.join()
    """
    assert run(program, tmp_path) == ["(False, False, 2.0, 3.0)"]


def test_what_is_counted_just_before_a_worker_leaves_stays_in_the_count(tmp_path: Path) -> None:
    program = """
        def work(lines):
            meter = serving()
            meter.membership.before_leave(lambda: count(meter, 5))
            count(meter, 2)
            meter.membership.leave()
            lines.put("left")
            lines.get()

        def read(lines):
            lines.put(total(serving()))

        if __name__ == "__main__":
            context = get_context("spawn")
            lines, other = context.Queue(), context.Queue()
            process = context.Process(target=work, args=(lines,))
            process.start(); lines.get()
            reader = context.Process(target=read, args=(other,))
            reader.start(); print(other.get()); reader.join()
            lines.put("end"); process.join()
    """
    assert run(program, tmp_path) == ["7.0"]


def test_a_worker_that_cannot_share_its_counts_counts_for_itself(tmp_path: Path) -> None:
    program = """
        from safelight.metrics.processes import folder
        from safelight.probes.guard import Guard

        def work(lines):
            def base():
                raise OSError("The disk is full.")
            folder.base = base
            meter = Meter("pix")
            meter.membership.join(Guard("processes", meter.probe_failed))
            count(meter)
            lines.put((total(meter), "processes" in meter.expose().body.decode()))

        if __name__ == "__main__":
            context = get_context("spawn")
            lines = context.Queue()
            process = context.Process(target=work, args=(lines,))
            process.start(); print(lines.get()); process.join()
    """
    assert run(program, tmp_path) == ["(1.0, True)"]


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_the_multiprocess_mode_of_the_application_changes_nothing(
    variable: str, tmp_path: Path
) -> None:
    program = """
        one, two = Meter("pix"), Meter("pix")
        count(one, 2); count(two, 3)
        one.forget(HTTP_REQUESTS, "/none")
        print(total(one), total(two))
    """
    (tmp_path / "files").mkdir()
    lines = run(program, tmp_path, **{variable: str(tmp_path / "files")})
    assert lines == ["2.0 3.0"]
    assert list((tmp_path / "files").iterdir()) == []


def test_an_address_is_a_port_or_the_path_of_a_socket() -> None:
    assert _number_of(("127.0.0.1", 8000)) == _number_of(("::1", "8000")) == 8000
    assert _number_of(("/run/app.sock", None)) == _number_of(["/run/app.sock", ""]) > 65_535
    assert _number_of(("/run/app.sock", None)) != _number_of(("/run/b.sock", None))
    assert _number_of(None) > 65_535
