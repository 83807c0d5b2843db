"""Assign each call of a model to the request that made it.

A call belongs to the request in which it began, as long as that request is open. Otherwise it
becomes a Record of its own. With several watches, a call is counted by its own watch; requests of
another watch only show it in their stages.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from safelight.libraries import TimeMark
from safelight.metrics.catalog import BATCH_SIZE, IN_FLIGHT, NO_INSTRUCTION
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.timers import CudaTimer
from safelight.reasons import NO_ERROR
from safelight.telemetry.device_time import count_device_time, count_good_outputs
from safelight.telemetry.meter import observe_steps
from safelight.telemetry.record import PipelineCall, Sink, record_of_call
from safelight.telemetry.scope import CURRENT_REQUEST, RequestScope

Requests = tuple[RequestScope, ...]

_ACTIVE: list["CallCounter"] = []


class CallCounter:
    """Counts the model calls of one watch."""

    def __init__(self, meter: Meter, sink: Sink) -> None:
        self.owner: object = meter
        self._meter = meter
        self._sink = sink
        self.failed = meter.probe_failed
        self.guard = Guard("model", meter.probe_failed)
        self._unfinished: deque[tuple[CudaTimer, TimeMark, TimeMark, str]] = deque(maxlen=256)
        self._forget = meter.before_expose(self._count_device_time)
        _ACTIVE.append(self)

    def close(self) -> None:
        """Stop receiving the calls of `inference`."""
        if self in _ACTIVE:
            _ACTIVE.remove(self)
            self._forget()

    def begin(self) -> Requests:
        """Note a call's start. Return the open requests that contain it, the innermost first."""
        self._meter.add(IN_FLIGHT)
        return tuple(scope for scope in _open() if scope.exchange.begin_call())

    def end(self, call: PipelineCall, requests: Requests) -> None:
        """Count a pipeline's call, and its device time if the device has finished."""
        self.assign(call, requests)
        self._count_spent(call)
        if call.images:
            count_good_outputs(self._meter, call.instruction_type, len(call.images))

    def assign(self, call: PipelineCall, requests: Requests) -> None:
        """Add the call to its requests, or write a Record of its own."""
        self._meter.add(IN_FLIGHT, amount=-1)
        counted = False
        for scope in requests:
            own = scope.owner is self.owner and not counted
            shown = call if own else replace(call, counted=False)
            counted |= scope.exchange.end_call(shown, over=scope.is_over) and own
        if not counted:
            self._sink(record_of_call(call))

    def discard(self, requests: Requests) -> None:
        """Forget a call that did nothing."""
        self._meter.add(IN_FLIGHT, amount=-1)
        for scope in requests:
            scope.exchange.drop_call()

    def count_batch(self, call: PipelineCall, *, timed: bool) -> None:
        """Count the size of a call's batch; its outputs, too, if a device is `timed` for them."""
        self._meter.observe(BATCH_SIZE, "application", value=call.batch)
        if timed and call.error == NO_ERROR:
            count_good_outputs(self._meter, call.instruction_type, call.batch)

    def time_device(self, use: str, timer: CudaTimer, started: TimeMark, ended: TimeMark) -> None:
        """Count a call's time on the device, once the device has finished it."""
        self._unfinished.append((timer, started, ended, use))
        self._count_device_time()

    def _count_device_time(self) -> None:
        for _ in range(len(self._unfinished)):
            timer, started, ended, use = self._unfinished.popleft()
            if not timer.passed(ended):
                self._unfinished.appendleft((timer, started, ended, use))
                break
            seconds = timer.seconds(started, ended)
            count_device_time(self._meter, use, NO_INSTRUCTION, seconds)

    def late(self, call: PipelineCall) -> None:
        """Observe the steps and the device time of a call whose Record is already written."""
        observe_steps(self._meter, call)
        self._count_spent(call)

    def _count_spent(self, call: PipelineCall) -> None:
        use = "useful" if call.error == NO_ERROR else "failed"
        count_device_time(self._meter, use, call.instruction_type, call.device_seconds or 0.0)


def counter_of_current() -> CallCounter | None:
    """Return the watch of the current request, else the last one; None if nothing is watched."""
    owner = current_owner()
    own = (each for each in _ACTIVE if each.owner is owner)
    return next(own, _ACTIVE[-1] if _ACTIVE else None)


def current_owner() -> object:
    """Return the owner of the innermost request, or None outside a request."""
    return next((scope.owner for scope in _open()), None)


def _open() -> Iterator[RequestScope]:
    scope = CURRENT_REQUEST.get()
    while scope is not None:
        if not scope.is_over:
            yield scope
        scope = scope.outer
