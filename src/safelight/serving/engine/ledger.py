"""Where the devices' time went: every second is entered once, by what came of it."""

from safelight.errors import InvalidOutput, SafelightError, Timeout
from safelight.metrics.catalog import DEVICE_SECONDS
from safelight.metrics.registry import Meter
from safelight.serving.engine.queue_entry import Ticket
from safelight.serving.job import Outcome


class Ledger:
    """Enters device seconds into the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        meter.start_at_zero(DEVICE_SECONDS)

    def enter(self, use: str, seconds: float) -> None:
        """Enter seconds that went into `use`, of catalog.USE."""
        if seconds > 0:
            self._meter.add(DEVICE_SECONDS, use, amount=seconds)

    def settle(self, ticket: Ticket, outcome: Outcome | SafelightError) -> None:
        """Enter what the model spent on a job, now that it is known what it was good for."""
        self.enter(use_of(ticket, outcome), ticket.device_seconds)
        ticket.device_seconds = 0.0


def use_of(ticket: Ticket, outcome: Outcome | SafelightError) -> str:
    """Return what a job's device time was good for."""
    stopped = ticket.job.control.stopped
    if stopped is not None:
        return "deadline" if isinstance(stopped, Timeout) else "cancelled"
    if ticket.answer.cancelled():
        return "cancelled"
    if isinstance(outcome, Outcome):
        return "useful"
    return "invalid" if isinstance(outcome, InvalidOutput) else "failed"
