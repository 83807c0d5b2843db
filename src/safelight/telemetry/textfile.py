"""Write the counts of a script to a file that node-exporter shows, also after the script has ended.

Gauges and the metrics of the machine are left out: they would look new for ever.
"""

import atexit
import logging
import os
import re
from pathlib import Path

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
        atexit.register(self.close)

    def write(self) -> None:
        """Replace the file by the counts of this moment. Raises OSError."""
        written = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            written.write_bytes(self._text())
            written.chmod(_READABLE)
            os.replace(written, self._path)
        finally:
            written.unlink(missing_ok=True)

    def close(self) -> None:
        """Write for the last time; a failure is logged, as the script may have done its work."""
        atexit.unregister(self.close)
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
