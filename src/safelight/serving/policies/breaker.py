"""Circuit breaker: stop sending requests to a model that keeps failing, then try one request."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic

from safelight.errors import CircuitOpen, HostOutOfMemory, ModelFailure, OutOfMemory, WorkerLost
from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_CLOSED, _HALF_OPEN, _OPEN = 0.0, 0.5, 1.0
_SERVED_SECONDS = 600.0  # a caller served within this time shows that the model works
_MIN_COUNTED = 2  # one failure alone never opens the circuit


class Failures:
    """The failures in a row, by caller and kind of job. Memory is bounded by the limit.

    A kind is the job's parameters with the size of its image file. One caller counts for half of
    the limit at most; if there is no other caller, each of its kinds does. Others are those who
    wait now or were served lately.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, _MIN_COUNTED)
        self._share = -(-self._limit // 2)
        self._by_owner: dict[str, Counter[int]] = {}
        self._served: OrderedDict[str, float] = OrderedDict()  # the last two callers served
        self.waiting = Counter[str]()  # jobs that wait or run, by caller
        self.number = 0

    def left(self, owner: str) -> None:
        """Note that a job of this caller neither waits nor runs any more."""
        self.waiting[owner] -= 1
        if not self.waiting[owner]:
            del self.waiting[owner]

    def add(self, job: Job) -> None:
        """Count a failure."""
        self.number += 1
        kinds = self._by_owner.setdefault(job.owner, Counter())
        if kinds.total() < self._limit or len(kinds) < self._limit:
            kinds[hash((job.key, job.parameters, len(job.image)))] += 1

    def clear(self, owner: str, now: float) -> None:
        """Forget all failures: a caller was served."""
        self.number = 0
        self._by_owner.clear()
        self._served[owner] = now
        self._served.move_to_end(owner)
        if len(self._served) > 2:  # one of two is always another caller
            self._served.popitem(last=False)

    def are_the_models(self, now: float) -> bool:
        """Return whether the model explains the failures, and not the input of one caller."""
        counted = sum(self._counted(owner, now) for owner in self._by_owner)
        return counted >= self._limit

    def _counted(self, owner: str, now: float) -> int:
        kinds = self._by_owner[owner]
        served = {o for o, at in self._served.items() if now - at < _SERVED_SECONDS}
        if {*self._by_owner, *self.waiting, *served} - {owner}:
            return min(kinds.total(), self._share)
        return sum(min(number, self._share) for number in kinds.values())


class Circuit:
    """Closed in normal operation, open after failures, half open while one request is tried.

    After the rest, each caller may try once, one at a time and as many callers as failures opened
    the circuit. A caller whose try fails waits for another rest, so it cannot use up all tries.
    """

    def __init__(
        self, failures: int, rest_seconds: float, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._try_limit = failures
        self._rest_seconds = rest_seconds
        self._meter = meter
        self._clock = clock
        self._failures = Failures(failures)
        self._opened_at: float | None = None
        self._trial_running = False
        self._waiting: dict[str, float] = {}  # callers whose try failed, and until when they wait
        meter.set(CIRCUIT_OPEN, value=_CLOSED)

    def enter(self, job: Job) -> bool:
        """Admit a job; return whether it is the trial. Raises CircuitOpen."""
        if self._opened_at is None:
            self._failures.waiting[job.owner] += 1
            return False
        remaining = self._remaining(job.owner, self._opened_at)
        if remaining > 0 or self._trial_running:
            self._meter.add(REJECTED, "circuit_open")
            raise CircuitOpen(self._failures.number, max(1.0, remaining))
        self._trial_running = True
        self._failures.waiting[job.owner] += 1
        self._meter.set(CIRCUIT_OPEN, value=_HALF_OPEN)
        return True

    def _remaining(self, owner: str, opened_at: float) -> float:
        """Return the seconds until this caller may try; 0 or less is now."""
        now = self._clock()
        self._waiting = {o: until for o, until in self._waiting.items() if until > now}
        if len(self._waiting) >= self._try_limit:
            return min(self._waiting.values()) - now
        return self._waiting.get(owner, opened_at + self._rest_seconds) - now

    def leave(self, job: Job, error: BaseException | None, *, trial: bool) -> None:
        """Record how a job ended."""
        self._failures.left(job.owner)
        if trial:
            self._trial_running = False
        elif self._opened_at is not None:
            return  # the job began before the circuit opened: it says nothing new
        now = self._clock()
        if _is_failure(error):
            self._failures.add(job)
            if trial:
                self._waiting[job.owner] = now + self._rest_seconds
                self._meter.set(CIRCUIT_OPEN, value=_OPEN)
            elif self._failures.are_the_models(now):
                self._opened_at = now
                self._meter.set(CIRCUIT_OPEN, value=_OPEN)
        elif error is None:
            self._failures.clear(job.owner, now)
            self._opened_at = None
            self._waiting.clear()
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
    large for the memory is not: the next one may be smaller. One caller never opens the circuit
    for others who are served, and one job that is sent again and again never opens it.
    """
    circuit = Circuit(failures, rest_seconds, meter, clock)

    async def guarded(job: Job) -> Outcome:
        trial = circuit.enter(job)
        failure: BaseException | None = None
        try:
            return await handle(job)
        except BaseException as error:
            failure = error
            raise
        finally:
            circuit.leave(job, failure, trial=trial)

    return guarded


def _is_failure(error: BaseException | None) -> bool:
    if isinstance(error, OutOfMemory | HostOutOfMemory):
        return False
    return isinstance(error, ModelFailure | WorkerLost)
