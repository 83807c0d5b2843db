"""Circuit breaker: stop sending requests to a model that keeps failing, then try one request."""

from collections.abc import Callable
from time import monotonic

from safelight.errors import CircuitOpen, HostOutOfMemory, ModelFailure, OutOfMemory, WorkerLost
from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_CLOSED, _HALF_OPEN, _OPEN = 0.0, 0.5, 1.0


class Circuit:
    """Closed in normal operation, open after failures, half open while one request is tried."""

    def __init__(
        self, failures: int, rest_seconds: float, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._failure_limit = failures
        self._rest_seconds = rest_seconds
        self._meter = meter
        self._clock = clock
        self._failures = 0  # in a row
        self._opened_at: float | None = None
        self._trial_running = False
        meter.set(CIRCUIT_OPEN, value=_CLOSED)

    def enter(self) -> bool:
        """Admit a job; return whether it is the trial. Raises CircuitOpen."""
        if self._opened_at is None:
            return False
        remaining = self._opened_at + self._rest_seconds - self._clock()
        if remaining > 0 or self._trial_running:
            self._meter.add(REJECTED, "circuit_open")
            raise CircuitOpen(self._failures, max(1.0, remaining))
        self._trial_running = True
        self._meter.set(CIRCUIT_OPEN, value=_HALF_OPEN)
        return True

    def leave(self, error: BaseException | None, *, trial: bool) -> None:
        """Record how a job ended."""
        if trial:
            self._trial_running = False
        elif self._opened_at is not None:
            return  # the job began before the circuit opened: it says nothing new
        if _is_failure(error):
            self._failures += 1
            if self._failures >= self._failure_limit:
                self._opened_at = self._clock()
                self._meter.set(CIRCUIT_OPEN, value=_OPEN)
        elif error is None:
            self._failures, self._opened_at = 0, None
            self._meter.set(CIRCUIT_OPEN, value=_CLOSED)
        elif trial:  # it ended for another reason, such as a bad input: the next job is the trial
            self._meter.set(CIRCUIT_OPEN, value=_OPEN)


def breaker(
    handle: Handler,
    *,
    failures: int,
    rest_seconds: float,
    meter: Meter,
    clock: Callable[[], float] = monotonic,
) -> Handler:
    """Refuse jobs for `rest_seconds` after that many failures in a row; then try one job.

    A lost worker, an error of the model and an invalid output are failures. A request that is too
    large for the memory is not: the next one may be smaller.
    """
    circuit = Circuit(failures, rest_seconds, meter, clock)

    async def guarded(job: Job) -> Outcome:
        trial = circuit.enter()
        failure: BaseException | None = None
        try:
            return await handle(job)
        except BaseException as error:
            failure = error
            raise
        finally:
            circuit.leave(failure, trial=trial)

    return guarded


def _is_failure(error: BaseException | None) -> bool:
    if isinstance(error, OutOfMemory | HostOutOfMemory):
        return False
    return isinstance(error, ModelFailure | WorkerLost)
