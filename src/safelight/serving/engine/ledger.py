"""Count each device second once, by its use: useful, cancelled, failed, retried and so on."""

from safelight.errors import InvalidOutput, SafelightError, Timeout
from safelight.metrics.catalog import DEVICE_SECONDS
from safelight.metrics.registry import Meter
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import Outcome


class Ledger:
    """Counts device seconds in the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        meter.start_at_zero(DEVICE_SECONDS)

    def add(self, use: str, seconds: float) -> None:
        """Count seconds for `use`, one of the values of catalog.USE."""
        if seconds > 0:
            self._meter.add(DEVICE_SECONDS, use, amount=seconds)

    def settle(self, entry: QueueEntry, outcome: Outcome | SafelightError) -> None:
        """Count the device seconds of a job, by its outcome."""
        self.add(use_of(entry, outcome), entry.device_seconds)
        entry.device_seconds = 0.0


def use_of(entry: QueueEntry, outcome: Outcome | SafelightError) -> str:
    """Return the use of a job's device time, one of the values of catalog.USE."""
    stopped = entry.job.control.stopped
    if stopped is not None:
        return "deadline" if isinstance(stopped, Timeout) else "cancelled"
    if entry.result.cancelled():
        return "cancelled"
    if isinstance(outcome, Outcome):
        return "useful"
    return "invalid" if isinstance(outcome, InvalidOutput) else "failed"
