"""Read sources such as NVML at fixed intervals in one thread, and measure the cost.

A forked process goes on with a thread of its own: `gunicorn --preload` forks after `watch`.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time, time

from safelight.metrics.catalog import PROBE_SECONDS, PROBE_TIMESTAMP
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard

Clock = Callable[[], float]
_FORK_SECONDS = 1.0  # a reading that hangs must not block a fork


_SAMPLERS: weakref.WeakSet["Sampler"] = weakref.WeakSet()


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
        self._ticking = threading.Lock()  # held while the readings are taken
        self._held = False
        self._thread: threading.Thread | None = None
        _SAMPLERS.add(self)

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

    def stop(self, wait_seconds: float = 5.0) -> None:
        """Stop the thread; a second call does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=wait_seconds)
            self._thread = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let forks happen during this part of a reading: it waits for the network."""
        is_held = threading.current_thread() is self._thread
        lock = self._ticking
        if is_held:
            lock.release()
        try:
            yield
        finally:
            if is_held:
                lock.acquire()

    def hold(self) -> None:
        """Wait until no reading is taken: a fork must not copy a half-taken one, with its locks."""
        self._held = self._ticking.acquire(timeout=_FORK_SECONDS)

    def release(self) -> None:
        """Go on after a fork, in the parent process."""
        if self._held:
            self._ticking.release()

    def restart(self) -> None:
        """Go on after a fork, in the child process, which has no threads."""
        self._ticking, self._stop = threading.Lock(), threading.Event()
        if self._thread is not None:
            self.start()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            with self._ticking:
                pause = self.tick()

    def _take(self, reading: _Reading) -> None:
        started = thread_time()
        if reading.read():
            self._meter.set(PROBE_TIMESTAMP, reading.probe, value=self._wall_clock())
        self._meter.add(PROBE_SECONDS, reading.probe, amount=thread_time() - started)


def _for_all(action: Callable[[Sampler], None]) -> Callable[[], None]:
    def act() -> None:
        for sampler in list(_SAMPLERS):
            action(sampler)

    return act


os.register_at_fork(
    before=_for_all(Sampler.hold),
    after_in_parent=_for_all(Sampler.release),
    after_in_child=_for_all(Sampler.restart),
)
