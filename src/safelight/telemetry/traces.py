"""Keep the traces of some requests, and send their spans off the path of requests.

Whether a trace is kept is decided when its Record is made, before any metric, log line or row is
written from it: every exemplar leads to a kept trace. A trace that is not kept waits some minutes,
so that a bad rating can still keep it.
"""

import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic, perf_counter, time_ns

from safelight.metrics.catalog import TRACES
from safelight.metrics.processes.membership import at_exit
from safelight.metrics.registry import Meter
from safelight.settings import Settings
from safelight.telemetry.record import Record
from safelight.telemetry.sampling import Keeper
from safelight.telemetry.trace_sender import Ended, TraceSender

THREAD = "safelight-traces"
CAPACITY = 2000  # traces that wait to be sent, and traces that a rating can still keep
UNDECIDED_SECONDS = 300.0
_CHUNK = 64  # traces that are sent at a time
_HELD_PER_SECOND = 20  # traces that wait for a rating: each costs memory, and users rate few images
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 5.0
_LAST_SHARE = 0.2  # of these, to end after a receiver did not answer


class Traces:
    """Decides which Records keep their trace, and sends these traces. Thread-safe.

    Without `otlp_endpoint` it sends only the spans of requests that an application's own tracer
    samples. Its thread starts with the first trace of each process.
    """

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        *,
        model: str = "",
        clock: Callable[[], float] = monotonic,
        timer: Callable[[], float] = perf_counter,
        wall_clock: Callable[[], int] = time_ns,
    ) -> None:
        """`model` names the model of calls that have no name.

        `clock` measures ages in seconds, `timer` is the clock of timelines, and `wall_clock` dates
        spans in nanoseconds.
        """
        self._meter = meter
        self._clock = clock
        self._timer = timer
        self._wall_clock = wall_clock
        self._is_sending = bool(settings.otlp_endpoint) and settings.otlp_traces
        self._keeper = Keeper(settings.trace_ratio, exports=self._is_sending, clock=clock)
        self._sender = TraceSender(settings, meter, model)
        self._lock = threading.Lock()
        self._queue: deque[Ended] = deque()
        self._undecided: OrderedDict[str, tuple[float, Ended]] = OrderedDict()
        self._hold_at = 0.0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = self._ends_with_process = False
        if self._is_sending:
            meter.start_at_zero(TRACES)
        self._stay = meter.membership.before_leave(self.stop)
        _TRACES.add(self)

    def decided(self, record: Record) -> Record:
        """Return the Record as metrics, log and store write it: with its trace, if that is kept."""
        with self._lock:
            kept = self._keeper.decided(record)
            if kept.span_id:
                return kept if self._put((kept, self._ended(record))) else record
            if self._is_sending:
                self._hold(record)
            return kept

    def keep(self, request_id: str) -> bool:
        """Keep the trace of a recent request after all. Return whether it was still there."""
        with self._lock:
            found = self._undecided.pop(request_id, None)
            if found is None:
                return False
            record, ended = found[1]
            return self._put((self._keeper.kept(record, "rated"), ended))

    def forget(self, request_id: str) -> None:
        """Delete what is known of a request that waits."""
        with self._lock:
            self._undecided.pop(request_id, None)
            self._queue = deque(each for each in self._queue if each[0].facts.id != request_id)

    def step(self, *, is_end: bool = False) -> bool:
        """Send some of the traces that wait. Return whether there are more."""
        with self._lock:
            chunk = [self._queue.popleft() for _ in range(min(_CHUNK, len(self._queue)))]
            more = bool(self._queue)
        self._sender.send(chunk, is_last=not more, is_end=is_end)
        return more

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Send what waits within the time; count the rest as lost."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping = True
        if thread is not None:
            self._wake.set()
            thread.join(seconds * (1 - _LAST_SHARE))
            self._drop()
            if thread.is_alive():
                self._sender.kill()
                thread.join(seconds * _LAST_SHARE)
        with self._lock:
            self._stopping = False

    def close(self) -> None:
        """Stop for good."""
        self._stay()
        self.stop()

    def after_fork(self) -> None:
        """Leave the thread, and what waits, to the process that forked this one."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread, self._stopping, self._ends_with_process = None, False, False
        self._queue.clear()
        self._undecided.clear()
        self._sender.after_fork()

    def _ended(self, record: Record) -> int:
        """Return the Unix time in nanoseconds of a request's last byte.

        Its Record can be made later: background tasks may follow.
        """
        ago = max(0.0, self._timer() - record.ended) if record.ended else 0.0
        return self._wall_clock() - round(ago * 1e9)

    def _drop(self) -> None:
        with self._lock:
            lost = len(self._queue)
            self._queue.clear()
        self._meter.add(TRACES, "lost", amount=lost)

    def _put(self, ended: Ended) -> bool:
        """Add a trace that is to be sent. Return False if too many wait."""
        if len(self._queue) >= CAPACITY or self._stopping:
            self._meter.add(TRACES, "lost")
            return False
        self._queue.append(ended)
        if self._thread is None:
            self._start()
        return True

    def _hold(self, record: Record) -> None:
        """Remember a trace that is not kept, and forget the oldest."""
        now, waiting = self._clock(), self._undecided
        if now < self._hold_at:
            return
        self._hold_at = now + 1 / _HELD_PER_SECOND
        waiting[record.facts.id] = now + UNDECIDED_SECONDS, (record, self._ended(record))
        while len(waiting) > CAPACITY or next(iter(waiting.values()))[0] < now:
            waiting.popitem(last=False)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()
        if not self._ends_with_process:
            self._ends_with_process = True
            at_exit(self.stop)

    def _run(self) -> None:
        while not self._stopping:
            if not self.step():
                self._wake.wait(_PAUSE_SECONDS)
                self._wake.clear()
        while self.step(is_end=True):
            pass
        self._sender.close()


_TRACES: weakref.WeakSet[Traces] = weakref.WeakSet()


def _after_fork() -> None:
    for traces in list(_TRACES):
        traces.after_fork()


os.register_at_fork(after_in_child=_after_fork)
