"""Keep the traces of some requests, and send their spans off the path of requests.

Whether a trace is kept is decided when its Record is made, before any metric, log line or row is
written from it: every exemplar leads to a kept trace. A trace that is not kept waits some minutes,
so that a bad rating can still keep it.
"""

import logging
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from time import monotonic, time_ns
from typing import TYPE_CHECKING

import structlog

from safelight.metrics.catalog import TRACES
from safelight.metrics.processes.membership import at_exit
from safelight.metrics.registry import Meter
from safelight.settings import Settings
from safelight.telemetry.record import Record
from safelight.telemetry.sampling import Keeper
from safelight.telemetry.spans import Span, batch_span, spans_of
from safelight.telemetry.trace_context import TraceContext

if TYPE_CHECKING:
    from safelight.telemetry.otlp import Receiver

THREAD = "safelight-traces"
CAPACITY = 2000  # traces that wait to be sent, and traces that a rating can still keep
UNDECIDED_SECONDS = 300.0
_CHUNK = 16  # traces made into spans at a time: the interpreter is held for a millisecond or two
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 5.0
_LAST_SHARE = 0.2  # of these, to end after a receiver did not answer

Ended = tuple[Record, int]  # a Record, and the Unix time in nanoseconds at which its request ended
log = structlog.wrap_logger(logging.getLogger("safelight"))  # a watched service's own handlers


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
        clock: Callable[[], float] = monotonic,
        wall_clock: Callable[[], int] = time_ns,
    ) -> None:
        """`clock` measures ages in seconds, `wall_clock` dates spans in nanoseconds."""
        self._meter = meter
        self._clock = clock
        self._wall_clock = wall_clock
        self._is_sending = bool(settings.otlp_endpoint)
        self._keeper = Keeper(settings.trace_ratio, exports=self._is_sending, clock=clock)
        self._sender = Sender(settings, meter)
        self._lock = threading.Lock()
        self._queue: deque[Ended] = deque()
        self._undecided: OrderedDict[str, tuple[float, Ended]] = OrderedDict()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = self._ends_with_process = False
        if self._is_sending:
            meter.start_at_zero(TRACES)
        meter.membership.before_leave(self.stop)
        _TRACES.add(self)

    def decided(self, record: Record) -> Record:
        """Return the Record as metrics, log and store write it: with its trace, if that is kept."""
        with self._lock:
            kept = self._keeper.decided(record)
            if kept.span_id:
                return kept if self._put((kept, self._wall_clock())) else record
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

    def step(self) -> bool:
        """Send some of the traces that wait. Return whether there are more."""
        with self._lock:
            chunk = [self._queue.popleft() for _ in range(min(_CHUNK, len(self._queue)))]
            more = bool(self._queue)
        self._sender.send(chunk, is_last=not more)
        return more

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Send what waits within the time; count the rest as lost."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping = True
        if thread is None:
            return
        self._wake.set()
        thread.join(seconds * (1 - _LAST_SHARE))
        if thread.is_alive():
            self._sender.close()
            thread.join(seconds * _LAST_SHARE)
        with self._lock:
            lost, self._stopping = len(self._queue), False
            self._queue.clear()
        if lost:
            self._meter.add(TRACES, "lost", amount=lost)

    def after_fork(self) -> None:
        """Leave the thread, and what waits, to the process that forked this one."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread, self._stopping, self._ends_with_process = None, False, False
        self._queue.clear()
        self._undecided.clear()
        self._sender.abandon()

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
        now = self._clock()
        waiting = self._undecided
        waiting[record.facts.id] = now + UNDECIDED_SECONDS, (record, self._wall_clock())
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
        while self.step():
            pass
        self._sender.finish()


class Sender:
    """Makes spans of Records and sends them. For one thread."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings = settings
        self._meter = meter
        self._receiver: Receiver | None = None
        self._batches: dict[str, tuple[Span, bool]] = {}
        self._is_failing = False

    def send(self, chunk: Sequence[Ended], *, is_last: bool) -> None:
        """Send the spans of Records, and of batches whose requests have all ended.

        `is_last` is True if no other Record waits.
        """
        own: list[tuple[list[Span], str]] = []
        for record, ended in chunk:
            trace, spans = record.facts.trace, spans_of(record, ended)
            if trace is not None and trace.is_local:
                self._send_through_provider(spans, trace)
            else:
                own.append((spans, trace.state if trace is not None else ""))
                self._note_batches(record, spans)
        number = len(own)
        own += [([span], "") for span in self._ended_batches()] if is_last else []
        if own:
            self._send(own, number)

    def finish(self) -> None:
        """Send the spans of all batches, and close the connection."""
        for _ in range(2):
            self.send([], is_last=True)
        self.close()
        self._receiver = None

    def close(self) -> None:
        """Give up what is being sent. Any thread may call this."""
        if self._receiver is not None:
            self._receiver.close()

    def abandon(self) -> None:
        """Leave the connection to the process that forked this one."""
        self._receiver, self._batches = None, {}

    def _send(self, requests: list[tuple[list[Span], str]], number: int) -> None:
        if self._receiver is None:
            from safelight.telemetry.otlp import Receiver

            self._receiver = Receiver(self._settings)
        has_arrived = self._receiver.send(requests)
        self._meter.add(TRACES, "sent" if has_arrived else "lost", amount=number)
        if has_arrived == self._is_failing:
            where = {"url.full": self._settings.otlp_endpoint}
            if has_arrived:
                log.info("traces are sent again", **where)
            else:
                log.warning("traces cannot be sent and are lost", **where)
        self._is_failing = not has_arrived

    def _send_through_provider(self, spans: list[Span], outer: TraceContext) -> None:
        from safelight.telemetry.otlp import send_through_provider

        send_through_provider(spans, outer)

    def _note_batches(self, record: Record, spans: list[Span]) -> None:
        """Link the span of a request's batch to the request."""
        for call in record.calls:
            if call.batch_id:
                found = self._batches.get(call.batch_id)
                span = batch_span(call, spans) if found is None else found[0]
                span.links.append(spans[0].place)
                self._batches[call.batch_id] = span, False

    def _ended_batches(self) -> list[Span]:
        """Return the batches that no request was added to since the last look."""
        ended = [span for span, is_old in self._batches.values() if is_old]
        self._batches = {
            name: (span, True) for name, (span, is_old) in self._batches.items() if not is_old
        }
        return ended


_TRACES: weakref.WeakSet[Traces] = weakref.WeakSet()


def _after_fork() -> None:
    for traces in list(_TRACES):
        traces.after_fork()


os.register_at_fork(after_in_child=_after_fork)
