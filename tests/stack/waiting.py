"""Free ports, and waiting for something to become true; what the tests of real programs share."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

import psutil

Found = TypeVar("Found")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def ports_in_a_row(count: int) -> int:
    """Return the first of so many ports of 127.0.0.1 that follow each other and are free."""
    while True:
        [first] = free_ports(1)
        with ExitStack() as held, suppress(OSError, OverflowError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def eventually(ask: Callable[[], Found], *, within: float, what: str) -> Found:
    """Return the first true answer. Fails where there is none in time."""
    pause, deadline = threading.Event(), monotonic() + within
    while not (found := ask()):
        assert monotonic() < deadline, f"not within {within:g} s: {what}"
        pause.wait(0.05)
    return found


def all_gone(processes: Iterable[psutil.Process]) -> bool:
    return not [each for each in processes if each.is_running() and each.status() != "zombie"]


def family(pid: int) -> list[psutil.Process]:
    """Return a process and everything that it started, and they."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def stub_programs(folder: Path, *names: str) -> str:
    """Make programs of those names that do nothing; return the folder, for PATH."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)
