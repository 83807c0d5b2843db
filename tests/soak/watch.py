"""What the processes of a service use, measured from outside."""

from collections.abc import Iterator
from contextlib import suppress

import psutil

Usage = dict[tuple[str, str], float]
"""By process (api, worker, other) and resource."""


def processes(pid: int) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the processes of a service with their roles."""
    parent = psutil.Process(pid)
    yield "api", parent
    for child in parent.children(recursive=True):
        with suppress(psutil.Error):
            worker = "safelight.serving.worker.child" in child.cmdline()
            yield ("worker" if worker else "other"), child


def usage(pid: int) -> Usage:
    """Return private memory in bytes, open descriptors and threads of each role."""
    found: Usage = {}
    for role, process in processes(pid):
        with suppress(psutil.Error), process.oneshot():
            values = {
                "memory": process.memory_full_info().uss,
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
            }
            for resource, value in values.items():
                found[role, resource] = found.get((role, resource), 0) + value
    return found


def workers(pid: int) -> set[int]:
    """Return the worker processes."""
    return {process.pid for role, process in processes(pid) if role == "worker"}
