"""A store for a process that may fork: it starts with the first record of each process.

gunicorn --preload forks after `watch`. A forked process has neither the thread of a store nor its
recorder, and what waits in the buffer belongs to the process that forked it.
"""

import os
import threading
import weakref

from safelight.metrics.catalog import RECORDS
from safelight.metrics.processes.membership import at_exit
from safelight.metrics.registry import Meter
from safelight.records.config import StoreConfig
from safelight.records.remote import RecorderProcess
from safelight.records.store import Store
from safelight.telemetry.record import Record
from safelight.telemetry.refusals import Refusals

_STOP_SECONDS = 10.0  # a recorder that has just started, on a busy machine, takes some of them

_STORES: weakref.WeakSet["LazyStore"] = weakref.WeakSet()


class LazyStore:
    """Stores Records of a watched service from the first one on, until `close`.

    It is stopped when the process leaves the group of its meter, and at the end of the process. A
    later record starts it again.
    """

    def __init__(self, config: StoreConfig, meter: Meter) -> None:
        self._config = config
        self._meter = meter
        self._refusals = Refusals(told="failed requests were not stored one by one")
        self._running: Store | None = None
        self._lock = threading.RLock()  # a signal's handler may stop what it interrupted
        self._ends_with_process = self._closed = False
        meter.start_at_zero(RECORDS)
        meter.membership.before_leave(self.stop)
        _STORES.add(self)

    def write(self, record: Record) -> None:
        """Add a finished request (a sink of Records)."""
        if not (record.calls or self._refusals.admits(record)):  # what a model did is always kept
            return
        with self._lock:  # a store that stops takes no more records
            if self._closed:
                self._meter.add(RECORDS, "lost")
            else:
                (self._running or self._start()).write(record)

    def stop(self) -> None:
        """Write what waits, and end the thread and the recorder."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop(_STOP_SECONDS)

    def close(self) -> None:
        """Stop, and count later records as lost."""
        with self._lock:
            self._closed = True
        self.stop()

    def after_fork(self) -> None:
        """Leave everything to the process that forked this one."""
        self._lock, self._ends_with_process = threading.RLock(), False
        self._running = None

    def _start(self) -> Store:
        store = Store(self._config, self._meter, RecorderProcess(self._config))
        store.start()
        if not self._ends_with_process:
            self._ends_with_process = True
            at_exit(self.stop)
        self._running = store
        return store


def _after_fork() -> None:
    for store in list(_STORES):
        store.after_fork()


os.register_at_fork(after_in_child=_after_fork)
