"""Decide if this process shares its counts: yes for a server's workers and gunicorn's master.

Any other process keeps its counts to itself, and pays nothing.
"""

import atexit
import inspect
import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from safelight.metrics.table import Table

if TYPE_CHECKING:
    from safelight.metrics.processes.group import Group, Snapshot

# gunicorn's master has one application, and its workers serve all its addresses.
_ANY_ADDRESS, _NO_PORT = -1.0, 1 << 16
_ARBITER, _WORKER = "gunicorn.arbiter", "gunicorn.workers.base"


class Membership:
    """Shares the counts of one meter with the same meter of the other workers.

    The same meter is the one with the same namespace and number: workers run the same program.
    """

    def __init__(self, table: Table, namespace: str) -> None:
        self.address = 0.0  # of the server; 0 until the first request
        self._table = table
        self._name = f"{namespace}-{_FORKS.number_of(namespace)}"
        self._guard: AbstractContextManager[object] = ExitStack()
        self._group: Group | None = None
        self._serves = self._was_forked = False
        self._before_leave: list[Callable[[], None]] = []
        _FORKS.members.add(self)

    @property
    def is_worker(self) -> bool:
        """Return True if this process counts beside others."""
        return self._group is not None

    def join(self, guard: AbstractContextManager[object]) -> None:
        """Count beside the other workers, if this process is one. The guard handles failures."""
        self._guard, self._serves = guard, True
        with guard:
            supervisor = _supervisor()
            if supervisor and self._group is None:
                self._enter(supervisor, in_gunicorn=_is_below(_WORKER))

    def serve_at(self, server: object) -> None:
        """Note the address of the first request: its port, or the path of its socket."""
        self.address = _number_of(server)
        with self._guard:
            group = self._group
            if group is None and self._was_forked:
                self._enter(os.getppid())
            elif group is not None and group.user != os.geteuid():
                self._table.unshare()  # gunicorn has changed the user since it forked the process
                group.close()
                self._enter(group.supervisor, in_gunicorn=True)
            if self._group is not None and not self._group.address:
                self._group.address = self.address

    def read(self) -> "Snapshot | None":
        """Return what all workers of the address have counted; None if this process is alone."""
        if self._group is not None:
            with self._guard:
                return self._group.read()
        return None

    def file(self, name: str) -> Path | None:
        """Return a file of this name that all workers of the address share.

        None if this process is alone, or does not know its address yet.
        """
        return self._group.file(name) if self._group is not None else None

    def before_leave(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call this function before every leave: what it counts is still shared.

        Return the function that ends this.
        """
        self._before_leave.append(callback)
        return lambda: self._before_leave.remove(callback)

    def leave(self) -> None:
        """Leave the counts to the other workers; a second call does nothing."""
        for callback in list(self._before_leave):
            with self._guard:
                callback()
        group, self._group = self._group, None
        self._serves = self._was_forked = False
        if group is not None:
            self._table.unshare()
            with self._guard:
                group.leave()

    def shut_down(self) -> None:
        """Leave the groups of all meters: the process ends, and the server informs only one."""
        for member in list(_FORKS.members):
            member.leave()

    def before_fork(self) -> None:
        """Join before gunicorn's master forks its first worker, if the application is preloaded."""
        if self._serves and self._group is None and _is_below(_ARBITER):
            with self._guard:
                self._enter(os.getpid(), in_gunicorn=True)

    def after_fork(self) -> None:
        """Count from 0 in the child process, in a file of its own if it is a worker."""
        group, self._group, self.address = self._group, None, 0.0
        self._table.unshare(empty=True)
        self._was_forked = self._serves
        if group is not None:
            group.close()
            if group.supervisor == os.getppid():  # forked by gunicorn's master
                with self._guard:
                    self._enter(os.getppid(), in_gunicorn=True)

    def _enter(self, supervisor: int, *, in_gunicorn: bool = False) -> None:
        # Here: only workers need them, and not every system has what they need.
        from safelight.metrics.processes.folder import base
        from safelight.metrics.processes.group import Group

        name = f"{self._name}-{version('safelight')}"
        group = Group(base(), supervisor, name, self._table.lock)
        if in_gunicorn:
            group.address = _ANY_ADDRESS
        self._table.share(group)
        self._group = group
        at_exit(self.leave)


class _Forks:
    """The memberships of this process, for the time around a fork."""

    def __init__(self) -> None:
        self.members: weakref.WeakSet[Membership] = weakref.WeakSet()
        self._held = ExitStack()
        self._generation = 0
        self._numbers: Counter[str] = Counter()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    def number_of(self, namespace: str) -> str:
        """Return how many meters of the namespace this process has made since it was forked."""
        self._numbers[namespace] += 1
        return f"{self._generation}.{self._numbers[namespace]}"

    def _before(self) -> None:
        for member in list(self.members):
            member.before_fork()
            # Else another thread's lock would stay locked in the child.
            self._held.enter_context(member._table.held())  # noqa: SLF001

    def _in_parent(self) -> None:
        self._held.close()

    def _in_child(self) -> None:
        self._held.close()
        self._generation += 1
        self._numbers.clear()
        folder = sys.modules.get("safelight.metrics.processes.folder")
        if folder is not None:
            folder.after_fork()
        for member in list(self.members):
            member.after_fork()


_FORKS = _Forks()


def _supervisor() -> int | None:
    """Return the process that started this one as a worker, if it did."""
    if not hasattr(os, "register_at_fork"):  # Windows
        return None
    processes = sys.modules.get("multiprocessing.process")
    parent = processes.parent_process() if processes is not None else None
    if parent is not None:
        return int(parent.pid)
    return os.getppid() if _is_below(_WORKER) else None


def _is_below(module: str) -> bool:
    """Return True if a function of the module is running and has called this one."""
    frame = inspect.currentframe() if module in sys.modules else None
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False


def _number_of(server: object) -> float:
    """Return the port of a server's address, or a number for the path of its socket."""
    host, port = server if isinstance(server, tuple | list) and len(server) == 2 else (server, None)
    return float(port) if port else float(_NO_PORT + crc32(str(host).encode()))


def at_exit(method: Callable[[], None]) -> None:
    """Call a method when this process ends, if its object still exists."""
    kept = weakref.WeakMethod(method)

    def end() -> None:
        method = kept()
        if method is not None:
            method()

    atexit.register(end)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # a child that multiprocessing has forked never calls atexit's functions
        util.Finalize(None, end, exitpriority=0)
