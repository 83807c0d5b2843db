"""Measure the lag of an event loop: blocking code in one handler delays all other requests.

A timer of the loop fires ten times a second. It is no task, and it keeps neither the loop, the
application nor the process alive.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable
from time import perf_counter

from safelight.metrics.catalog import HTTP_LAG, LOOP_BEAT_SECONDS
from safelight.metrics.registry import Meter


class Heartbeat:
    """The timer of one application; `start` it in the loop that serves a request."""

    def __init__(self, meter: Meter, *, clock: Callable[[], float] = perf_counter) -> None:
        # Of the next beat. A request that begins later finds no timer, or a late one.
        self.due = 0.0
        self._meter = meter
        self._clock = clock
        self._lock = threading.Lock()
        self._loop: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None
        self._stop = meter.before_expose(self._catch_up)

    def start(self) -> None:
        """Begin to beat in the running loop, unless the timer beats there already."""
        loop = asyncio.get_running_loop()
        if self._loop() is loop or self.due == float("inf"):
            return
        self._loop = weakref.ref(loop)
        self.due = self._clock() + LOOP_BEAT_SECONDS
        _schedule(loop, weakref.ref(self))

    def stop(self) -> None:
        """End; a second call does nothing."""
        if self.due < float("inf"):
            self.due, self._loop = float("inf"), lambda: None
            self._stop()

    def beat(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Observe how late this beat is. Return False if another loop has the timer now."""
        if self._loop() is not loop:
            return False
        self._observe(LOOP_BEAT_SECONDS)
        return True

    def _catch_up(self) -> None:
        """Observe a blocking that has not ended, from the thread of a scrape."""
        loop = self._loop()
        if loop is not None and loop.is_running() and self._clock() > self.due + LOOP_BEAT_SECONDS:
            self._observe(0.0)

    def _observe(self, until_next_seconds: float) -> None:
        with self._lock:
            now = self._clock()
            late, self.due = max(0.0, now - self.due), now + until_next_seconds
        self._meter.observe(HTTP_LAG, value=late)


def _schedule(
    loop: asyncio.AbstractEventLoop, heartbeat: "weakref.ReferenceType[Heartbeat]"
) -> None:
    loop.call_later(LOOP_BEAT_SECONDS, _beat, loop, heartbeat)


def _beat(loop: asyncio.AbstractEventLoop, heartbeat: "weakref.ReferenceType[Heartbeat]") -> None:
    present = heartbeat()
    if present is not None and present.beat(loop):
        _schedule(loop, heartbeat)
