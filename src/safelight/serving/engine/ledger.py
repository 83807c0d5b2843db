"""Count each device second once, by its use: useful, cancelled, failed, retried and so on."""

from collections import Counter, defaultdict
from collections.abc import Callable
from threading import Lock
from time import monotonic

from safelight.errors import InvalidOutput, SafelightError, Timeout
from safelight.metrics.catalog import DEVICE_HELD_SECONDS, DEVICE_SECONDS
from safelight.metrics.registry import Meter
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import Outcome
from safelight.telemetry.device_time import count_device_time, count_good_outputs


class Ledger:
    """Counts device seconds in the meter, and in the requests that they were spent for.

    From its creation on, it also counts the time of all `devices`, busy or idle, while held.
    """

    def __init__(
        self, meter: Meter, devices: int = 1, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._meter = meter
        self._devices = devices
        self._clock = clock
        self._held, self._since = 0.0, clock()
        self._share = 1
        self.spent: defaultdict[str, float] = defaultdict(float)
        # Until the next scrape: to count each job in the meter would cost every request.
        self._uncounted: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._good_outputs = Counter[str]()
        self._lock = Lock()
        meter.start_at_zero(DEVICE_SECONDS, DEVICE_HELD_SECONDS)
        meter.before_expose(self._count)

    def _count(self) -> None:
        self._count_held()
        with self._lock:
            for (use, instruction_type), seconds in self._uncounted.items():
                count_device_time(self._meter, use, instruction_type, seconds)
            for instruction_type, number in self._good_outputs.items():
                count_good_outputs(self._meter, instruction_type, number)
            self._uncounted.clear()
            self._good_outputs.clear()

    def _count_held(self) -> None:
        now = self._clock()
        self._held += self._devices * (now - self._since) * self._share
        self._since = now
        self._meter.set_total(DEVICE_HELD_SECONDS, value=self._held)

    def hold(self, share: int) -> None:
        """Count all devices as held from now on (1), or none (0): the model sleeps."""
        self._count_held()
        self._share = share

    def add(self, use: str, entry: QueueEntry, seconds: float) -> None:
        """Count seconds that a job took, for `use`: one of the values of catalog.USE."""
        use = entry.job.use or use
        if seconds > 0:
            self.spent[use] += seconds
            exchange = entry.job.exchange
            exchange.spend(seconds)
            with self._lock:
                self._uncounted[use, exchange.instruction_type] += seconds

    def settle(self, entry: QueueEntry, outcome: Outcome | SafelightError) -> None:
        """Count the device seconds of a job, by its outcome, and its output if it is good."""
        use, seconds = use_of(entry, outcome), entry.device_seconds
        entry.device_seconds = 0.0
        self.add(use, entry, seconds)
        if use == "useful" and seconds > 0 and not entry.job.use:
            with self._lock:
                self._good_outputs[entry.job.exchange.instruction_type] += 1


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
