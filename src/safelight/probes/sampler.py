"""Read sources such as NVML at fixed intervals in one thread, and measure the cost."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, time

from safelight.metrics.catalog import PROBE_SECONDS, PROBE_TIMESTAMP
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard

Clock = Callable[[], float]


@dataclass(slots=True)
class _Reading:
    probe: str
    interval_seconds: float
    read: Callable[[], bool]
    guard: Guard
    due: float = 0.0


class Sampler:
    """Calls each reading at its interval. A reading returns True if it had something to read."""

    def __init__(
        self, meter: Meter, *, clock: Clock = perf_counter, wall_clock: Clock = time
    ) -> None:
        self._meter = meter
        self._clock = clock
        self._wall_clock = wall_clock
        self._readings: list[_Reading] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def every(self, interval_seconds: float, probe: str, read: Callable[[], bool]) -> None:
        """Call `read` every `interval_seconds`, from the next tick on."""
        guard = Guard(probe, self._meter.probe_failed)
        self._readings.append(_Reading(probe, interval_seconds, read, guard))

    def tick(self) -> float:
        """Call the readings that are due. Return the seconds until the next one."""
        now = self._clock()
        for reading in self._readings:
            if now >= reading.due:
                reading.due = now + reading.interval_seconds
                with reading.guard:
                    self._take(reading)
        return max(0.0, min((r.due for r in self._readings), default=now + 60) - self._clock())

    def start(self) -> None:
        """Call the readings in a daemon thread until `stop`."""
        self._thread = threading.Thread(target=self._run, name="safelight-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; a second call does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _run(self) -> None:
        while not self._stop.wait(self.tick()):
            pass

    def _take(self, reading: _Reading) -> None:
        started = perf_counter()
        if reading.read():
            self._meter.set(PROBE_TIMESTAMP, reading.probe, value=self._wall_clock())
        self._meter.add(PROBE_SECONDS, reading.probe, amount=perf_counter() - started)
