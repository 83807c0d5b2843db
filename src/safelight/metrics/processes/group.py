"""The processes that serve one address: each counts for itself, and reads what all have counted.

No process asks another one: a blocked or killed one can neither delay a scrape nor lower a sum.
"""

import os
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safelight.metrics.metric import Metric
from safelight.metrics.processes.archive import Archive, fold, load, path_of
from safelight.metrics.processes.folder import (
    ARCHIVE,
    VALUES,
    exclusive,
    has_members,
    remove,
    remove_later,
    start_of,
    sweep,
)
from safelight.metrics.processes.layout import Layout
from safelight.metrics.processes.member import ADDRESS, CPU_SECONDS, Member, Seen, look, numbers
from safelight.metrics.processes.ports import listening
from safelight.metrics.series import USED, Cells, Labels, Row, merged, width

_MOST_READINGS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the processes of one address have counted, and the file of each that is alive."""

    rows: list[Row]
    supervisor: int
    alive: Mapping[int, Cells]
    ended_cpu_seconds: float

    def cpu_seconds(self, used: dict[int, float]) -> float:
        """Return the sum over all processes, also over those that have ended.

        Each process's time is noted in its file: after its end, nobody can ask for it.
        """
        for pid, seconds in used.items():
            self.alive[pid][CPU_SECONDS] = max(self.alive[pid][CPU_SECONDS], seconds)
        return self.ended_cpu_seconds + sum(cells[CPU_SECONDS] for cells in self.alive.values())


class Group:
    """The membership of this process in a group. Thread-safe. Raises OSError if it is impossible.

    The group is all processes with this supervisor, the process that started them, and this name.
    `lock` guards the numbers of this process.
    """

    def __init__(self, parent: Path, supervisor: int, name: str, lock: threading.Lock) -> None:
        sweep(parent, supervisor)
        self.supervisor, self.user = supervisor, os.geteuid()
        self._started = start_of(supervisor)
        self._lock = lock
        self._folder = parent / f"{supervisor}-{self._started}-{name}"
        with exclusive(self._folder):
            self._member: Member | None = None
            self._layout = Layout(self._folder / "series")
            try:
                fold(self._folder, self._ended(), self._layout)
                self._own = self._member = Member(self._folder)
            except OSError:
                self._layout.close()
                raise

    @property
    def address(self) -> float:
        """Return the address that this process serves, or 0 if it is not known yet."""
        return self._own.cells[ADDRESS]

    @address.setter
    def address(self, address: float) -> None:
        self._own.cells[ADDRESS] = address

    def file(self, name: str) -> Path | None:
        """Return a file that the processes of the address share; None if it is not known yet."""
        return self._folder / f"{self.address:.0f}.{name}" if self.address else None

    def known(self, metric: Metric) -> Collection[Labels]:
        """Return the labels of the metric's series, of all processes."""
        return self._layout.known(metric)

    def row(self, metric: Metric, labels: Labels) -> Cells | None:
        """Return the row of a series in the file of this process; None if there is no room."""
        place = self._layout.place(metric, labels)
        return None if place is None else self._own.cells[place : place + width(metric)]

    def read(self) -> Snapshot:
        """Return what all processes of the address have counted."""
        others = list(self._others())
        address = self._address(others)
        kept = Archive()
        for _ in range(_MOST_READINGS):
            version = _version(path_of(self._folder, address))
            kept = load(path_of(self._folder, address))
            others = [each for each in self._others() if self._belongs(each, address, kept)]
            if _version(path_of(self._folder, address)) == version:
                break  # else a process was moved into the archive meanwhile
        snapshot = self._snapshot(others, kept)
        if not all(each.alive for each in others):
            self._fold()
        return snapshot

    def close(self) -> None:
        """Forget the group, after a fork: its files belong to the parent process."""
        self._own.close()
        self._layout.close()

    def leave(self) -> None:
        """Leave this process's counts to the others; the last process removes the files."""
        self._own.close()
        self._member = None
        with suppress(OSError), exclusive(self._folder):
            fold(self._folder, self._ended(), self._layout)
            self._layout.close()
            if has_members(self._folder):
                return
            if self._is_over():
                remove(self._folder)
                return
        # Its supervisor is alive: it ends soon, or it starts a new worker, which needs the counts.
        remove_later(self._folder, self.supervisor, self._started)

    def _is_over(self) -> bool:
        served = any(self._folder.glob(f"*{ARCHIVE}"))
        ended = start_of(self.supervisor) != self._started
        return not served or ended or self.supervisor == os.getpid()

    def _others(self) -> Iterable[Seen]:
        for path in self._folder.glob(f"*{VALUES}"):
            # Its own file stays unopened: to close it would release its lock.
            if self._member is None or path.stem != self._member.name:
                with suppress(FileNotFoundError, ValueError):  # ValueError: it is not of a process
                    yield look(path)

    def _ended(self) -> list[Seen]:
        return [each for each in self._others() if not each.alive]

    def _fold(self) -> None:
        with suppress(OSError), exclusive(self._folder, wait_seconds=0):
            fold(self._folder, self._ended(), self._layout)

    def _address(self, others: Iterable[Seen]) -> float:
        """Return the address of this process, also before its first request."""
        if self.address:
            return self.address
        own = listening(os.getpid())
        known = (each for each in others if each.alive and each.address)
        return next((each.address for each in known if own & listening(each.pid)), 0.0)

    def _belongs(self, other: Seen, address: float, kept: Archive) -> bool:
        if other.name in kept.names:
            return False
        if other.address or not other.alive:
            return other.address == address != 0
        if not listening(os.getpid()) & listening(other.pid):
            return False
        other.cells[ADDRESS] = address
        return True

    def _snapshot(self, others: list[Seen], kept: Archive) -> Snapshot:
        self._layout.refresh()
        end = self._layout.end
        with self._lock:
            alive = [numbers(self._own.cells, end)]
        ended = [kept.cells]
        for each in others:
            (alive if each.alive else ended).append(numbers(each.cells, end))
        rows: list[Row] = []
        for metric, labels, part in self._layout.rows():
            sources = alive if metric.ends else [*alive, *ended]
            found = [row for source in sources if (row := source[part]) and row[USED]]
            if found:
                rows.append((metric, labels, merged(metric, found)))
        files = {os.getpid(): self._own.cells, **{s.pid: s.cells for s in others if s.alive}}
        return Snapshot(rows, self.supervisor, files, sum(row[CPU_SECONDS] for row in ended))


def _version(path: Path) -> tuple[int, int] | None:
    """Return what changes when the file is replaced; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns
