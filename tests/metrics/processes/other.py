"""Another process of a group, which does what a test tells it: `python -m ...other FOLDER NAME`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safelight.metrics.catalog import CATALOG
from safelight.metrics.metric import Across, Kind, Metric
from safelight.metrics.processes.group import Group
from safelight.metrics.series import Exemplar
from safelight.metrics.table import Table

ADDRESS = 8000.0
_METRICS = {metric.name: metric for metric in CATALOG}


class Member:
    """A table that counts in a group."""

    def __init__(
        self, folder: Path, name: str = "pix", supervisor: int = 0, address: float = ADDRESS
    ) -> None:
        self.table = Table(lambda: self.now)
        self.now = 1.0
        self.group = Group(folder, supervisor or os.getppid(), name, self.table.lock)
        self.group.address = address
        self.table.share(self.group)

    def enter(self, metric: Metric, *labels: str, amount: float = 1, trace: str = "") -> None:
        """Add to a counter, set a gauge or observe a value."""
        series, _ = self.table.admit(metric, labels)
        exemplar = Exemplar(trace) if trace else None
        if metric.kind is Kind.COUNTER:
            series.inc(amount, exemplar)
        elif metric.across is Across.RECENT:
            series.peak(amount)
        elif metric.kind is Kind.GAUGE:
            series.set(amount)
        else:
            series.observe(amount, exemplar)

    def rows(self, metric: Metric) -> dict[tuple[str, ...], list[float]]:
        """Return what all processes counted."""
        return {labels: row for each, labels, row in self.group.read().rows if each is metric}


class Other:
    """The same in another process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.pid = process.pid

    def enter(
        self, metric: Metric, *labels: str, amount: float = 1, now: float = 1.0, trace: str = ""
    ) -> None:
        self._tell(metric.name, str(amount), str(now), trace, *labels)

    def leave(self) -> None:
        """Leave the group, and end."""
        self._tell("leave")
        self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _tell(self, *words: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def other(folder: Path, name: str = "pix", address: float = ADDRESS) -> Iterator[Other]:
    """Start another process of the group of this process."""
    command = [sys.executable, "-m", __name__, str(folder), name, str(os.getppid()), str(address)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
            yield Other(process)
        finally:
            process.kill()


def main(folder: str, name: str, supervisor: str, address: str) -> None:
    member = Member(Path(folder), name, int(supervisor), float(address))
    print("done", flush=True)
    for line in sys.stdin:
        metric, *words = line.rstrip("\n").split("\t")
        if metric == "leave":
            member.group.leave()
            print("done", flush=True)
            return
        amount, now, trace, *labels = words
        member.now = float(now)
        member.enter(_METRICS[metric], *labels, amount=float(amount), trace=trace)
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
