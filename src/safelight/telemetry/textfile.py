"""Write the counts of a script to a file that node-exporter shows, also after the script has ended.

Gauges and the metrics of the machine are left out: they would look new for ever.
"""

import atexit
import logging
import os
import re
from pathlib import Path
from tempfile import mkstemp

from safelight.errors import BadSetting
from safelight.metrics.exposition import Scrape, families
from safelight.metrics.metric import Family, Kind
from safelight.metrics.registry import Meter

log = logging.getLogger(__name__)

SCRIPT = "script"  # the label that keeps the files of several scripts apart
_NAME = re.compile(r"([\w.-]{1,60})\.prom", re.ASCII)
_LEFT_OUT = (Family.GPU, Family.HOST)
_READABLE = 0o644  # node-exporter is another user


class Textfile:
    """A file `NAME.prom`, whose series have the label `script="NAME"`."""

    def __init__(self, meter: Meter, path: Path) -> None:
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise BadSetting(
                f"{path.name[:80]!r} is not a name that node-exporter reads. Name the file like "
                "nightly.prom: up to 60 letters, digits, dots, - and _, then .prom."
            )
        self._meter = meter
        self._path = path.absolute()
        self._script = name[1]
        self._process = os.getpid()
        self._was_written = False

    def write(self) -> None:
        """Replace the file by the counts of this moment. Raises OSError."""
        folder, name = self._path.parent, f".{self._path.name}."
        file, written = mkstemp(prefix=name, dir=folder)  # a new one: threads write at once
        try:
            with open(file, "wb") as opened:
                opened.write(self._text())
                os.chmod(opened.fileno(), _READABLE)
            os.replace(written, self._path)
        except BaseException:
            os.unlink(written)
            raise
        if not self._was_written:
            self._was_written = True
            atexit.register(self.close)

    def close(self) -> None:
        """Write for the last time; a failure is logged, as the script may have done its work.

        A forked process does nothing: the file has the counts of its parent process.
        """
        atexit.unregister(self.close)
        if self._process != os.getpid():
            return
        try:
            self.write()
        except OSError as error:
            log.error("The counts were not written to %s.", self._path, exc_info=error)  # noqa: TRY400

    def _text(self) -> bytes:
        _, rows = self._meter.read()
        kept = [row for row in rows if row[0].kind is not Kind.GAUGE]
        kept = [row for row in kept if row[0].family not in _LEFT_OUT]
        found = families(kept, self._meter.namespace)
        for family in found:
            family.samples = [
                sample._replace(labels={**sample.labels, SCRIPT: self._script})
                for sample in family.samples
            ]
        return Scrape(lambda: found).write("").body
