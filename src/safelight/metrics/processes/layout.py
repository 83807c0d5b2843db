"""Where the row of each series is in the files of a group: one list for all its processes.

The list only grows. A process appends a series before it first counts into it. A line gets a place
if the metric has room for it; all processes read the same lines, so they agree on the places.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from safelight.metrics.catalog import CATALOG
from safelight.metrics.metric import Metric
from safelight.metrics.series import Labels, admitted, width

HEADER = 8  # numbers of a file that belong to the process, not to a series
SIZE = HEADER + sum(width(metric) * (metric.series + 1) for metric in CATALOG)
_METRICS = {metric.name: metric for metric in CATALOG}


class Layout:
    """The places of the series of one group. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self.end = HEADER
        self._places: dict[Metric, dict[Labels, int]] = {metric: {} for metric in CATALOG}
        self._file = path.open("ab+", buffering=0)
        self._read = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the list."""
        self._file.close()

    def known(self, metric: Metric) -> Mapping[Labels, int]:
        """Return the places of a metric's series."""
        return self._places.get(metric, {})

    def place(self, metric: Metric, labels: Labels) -> int | None:
        """Return the place of a series, which is new if needed; None if there is no room."""
        known = self._places.get(metric)
        if known is None:
            return None
        if labels not in known:
            self.refresh()
        if labels not in known and admitted(metric, known, labels):
            with suppress(OSError):  # on a full disk, the series counts as `other`
                self._file.write(json.dumps([metric.name, *labels]).encode() + b"\n")
            self.refresh()
        return known.get(labels)

    def refresh(self) -> None:
        """Read the lines that were appended since."""
        with self._lock:
            size = os.fstat(self._file.fileno()).st_size
            if size > self._read:
                text = os.pread(self._file.fileno(), size - self._read, self._read)
                lines = text[: text.rfind(b"\n") + 1]
                self._read += len(lines)
                for line in lines.splitlines():
                    self._enter(line)

    def rows(self) -> Iterator[tuple[Metric, Labels, slice]]:
        """Yield each series, and the part of a file that is its row."""
        with self._lock:
            places = [(metric, list(known.items())) for metric, known in self._places.items()]
        for metric, known in places:
            for labels, place in known:
                yield metric, labels, slice(place, place + width(metric))

    def _enter(self, line: bytes) -> None:
        try:
            name, *values = json.loads(line)
            metric, labels = _METRICS[name], tuple(values)
        except (ValueError, KeyError):  # torn, because the disk was full
            return
        known = self._places[metric]
        if labels not in known and admitted(metric, known, labels):
            known[labels] = self.end
            self.end += width(metric)
