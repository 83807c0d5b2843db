"""The counts of processes that have ended: one file for each address.

It is replaced as a whole, and names the processes whose counts it has: a reader counts each process
once, wherever its counts are.
"""

import json
import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from safelight.metrics.processes.folder import ARCHIVE, VALUES
from safelight.metrics.processes.layout import HEADER, Layout
from safelight.metrics.processes.member import CPU_SECONDS, Seen
from safelight.metrics.series import USED, merged


@dataclass(slots=True)
class Archive:
    """Counts of ended processes, in the places of the layout."""

    names: set[str] = field(default_factory=set)
    cells: list[float] = field(default_factory=lambda: [0.0] * HEADER)

    def add(self, ended: Seen, layout: Layout) -> None:
        """Add the counts of a process. Its gauges ended with it."""
        self.cells += [0.0] * (layout.end - len(self.cells))
        for metric, _, part in layout.rows():
            row = ended.cells[part].tolist()
            if row[USED] and not metric.ends:
                before = self.cells[part]
                self.cells[part] = merged(metric, [before, row] if before[USED] else [row])
        self.cells[CPU_SECONDS] += ended.cells[CPU_SECONDS]
        self.names.add(ended.name)


def path_of(folder: Path, address: float) -> Path:
    """Return the path of the archive of a server's address."""
    return folder / f"{address:.0f}{ARCHIVE}"


def load(path: Path) -> Archive:
    """Return the archive, which is empty if no process has ended."""
    try:
        names, _, numbers = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return Archive()
    return Archive(set(json.loads(names)), array("d", numbers).tolist())


def fold(folder: Path, ended: Iterable[Seen], layout: Layout) -> None:
    """Move the counts of ended processes into the archives. The caller holds the folder."""
    layout.refresh()
    by_address: dict[float, list[Seen]] = {}
    for each in ended:
        by_address.setdefault(each.address, []).append(each)
    for address, members in by_address.items():
        if address:  # else it never served, and no scrape has seen it
            _extend(path_of(folder, address), members, layout)
        for each in members:
            (folder / f"{each.name}{VALUES}").unlink(missing_ok=True)


def _extend(path: Path, members: Iterable[Seen], layout: Layout) -> None:
    archive = load(path)
    # A name is only needed while its file exists.
    archive.names = {name for name in archive.names if (path.parent / f"{name}{VALUES}").exists()}
    for each in members:
        if each.name not in archive.names:
            archive.add(each, layout)
    written = path.with_suffix(".new")
    names = json.dumps(sorted(archive.names)).encode()
    written.write_bytes(names + b"\n" + array("d", archive.cells).tobytes())
    os.replace(written, path)
