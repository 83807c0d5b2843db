"""Leaves a model alone that fails again and again, then lets one request try it."""

from collections.abc import Callable
from time import monotonic

from safelight.errors import CircuitOpen, ModelFailure, OutOfMemory, WorkerLost
from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_CLOSED, _TRYING, _OPEN = 0.0, 0.5, 1.0


class Circuit:
    """Closed while all is well, open for a rest after failures, then tried by one request."""

    def __init__(
        self, failures: int, rest_seconds: float, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._failures = failures
        self._rest_seconds = rest_seconds
        self._meter = meter
        self._clock = clock
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._trying = False
        meter.set(CIRCUIT_OPEN, value=_CLOSED)

    def enter(self) -> bool:
        """Let a job in, and tell whether it is the one that tries. Raises CircuitOpen."""
        if self._opened_at is None:
            return False
        left = self._opened_at + self._rest_seconds - self._clock()
        if left > 0 or self._trying:
            self._meter.add(REJECTED, "circuit_open")
            raise CircuitOpen(self._in_a_row, max(1.0, left))
        self._trying = True
        self._meter.set(CIRCUIT_OPEN, value=_TRYING)
        return True

    def leave(self, error: BaseException | None, *, tries: bool) -> None:
        """Take note of how a job ended."""
        if tries:
            self._trying = False
        elif self._opened_at is not None:
            return  # what began before it opened says nothing new
        if _is_failure(error):
            self._in_a_row += 1
            if self._in_a_row >= self._failures:
                self._opened_at = self._clock()
                self._meter.set(CIRCUIT_OPEN, value=_OPEN)
        elif error is None:
            self._in_a_row, self._opened_at = 0, None
            self._meter.set(CIRCUIT_OPEN, value=_CLOSED)
        elif tries:  # it ended for a reason of its own: the next one tries
            self._meter.set(CIRCUIT_OPEN, value=_OPEN)


def breaker(
    handle: Handler,
    *,
    failures: int,
    rest_seconds: float,
    meter: Meter,
    clock: Callable[[], float] = monotonic,
) -> Handler:
    """Refuse jobs for `rest_seconds` after so many failures in a row; then one may try.

    A failure is a lost worker, a model's error or an invalid output. Too large a request for the
    memory is not: the next one may be smaller.
    """
    circuit = Circuit(failures, rest_seconds, meter, clock)

    async def guarded(job: Job) -> Outcome:
        tries = circuit.enter()
        ended: BaseException | None = None
        try:
            return await handle(job)
        except BaseException as error:
            ended = error
            raise
        finally:
            circuit.leave(ended, tries=tries)

    return guarded


def _is_failure(error: BaseException | None) -> bool:
    return isinstance(error, ModelFailure | WorkerLost) and not isinstance(error, OutOfMemory)
