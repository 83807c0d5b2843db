"""Helpers for tests with real programs: free ports, stub programs, and waiting for a condition."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

import psutil

from safelight.stories.replay import free_port

Value = TypeVar("Value")


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 without a listener."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def consecutive_ports(count: int) -> int:
    """Return the first of `count` consecutive free ports of 127.0.0.1."""
    while True:
        [first] = free_ports(1)
        with ExitStack() as sockets, suppress(OSError, OverflowError):
            for port in range(first, first + count):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def eventually(condition: Callable[[], Value], *, within: float, what: str) -> Value:
    """Return the first true value of `condition`. Fails after `within` seconds."""
    pause, deadline = threading.Event(), monotonic() + within
    while not (value := condition()):
        assert monotonic() < deadline, f"not within {within:g} s: {what}"
        pause.wait(0.05)
    return value


def all_gone(processes: Iterable[psutil.Process]) -> bool:
    return not [one for one in processes if one.is_running() and one.status() != "zombie"]


def process_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def stub_programs(folder: Path, *names: str) -> str:
    """Create programs with these names that do nothing; return the folder, for PATH."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)
