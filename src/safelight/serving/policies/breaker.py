"""Circuit breaker: stop sending requests to a model that keeps failing, then try one request."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Literal

import structlog

from safelight.errors import CircuitOpen, HostOutOfMemory, ModelFailure, OutOfMemory, WorkerLost
from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

_CLOSED, _HALF_OPEN, _OPEN = 0.0, 0.5, 1.0
_SERVED_SECONDS = 600.0  # a caller served within this time shows that the model works
_MIN_COUNTED = 2  # one failure alone never opens the circuit
_CALLER_LIMIT = 1000
log = structlog.get_logger("safelight")

Entry = Literal["closed", "trial", "proven"]
"""Why a job is admitted: the circuit is closed, it is a try, or its caller was served lately."""


class Proven:
    """The callers who were served lately and did not fail: the failures of others are not theirs.

    They pass an open circuit, until one of them fails too: then it is the model. Bounded.
    """

    def __init__(self) -> None:
        self._served: OrderedDict[str, float] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()
        self._trusted = True

    def may_pass(self, owner: str, now: float) -> bool:
        """Return whether a caller may send jobs although the circuit is open."""
        return (
            self._trusted
            and now - self._served.get(owner, -_SERVED_SECONDS) < _SERVED_SECONDS
            and now - self._failed.get(owner, -_SERVED_SECONDS) >= _SERVED_SECONDS
        )

    def served(self, owner: str, now: float) -> None:
        """Note that a caller was served."""
        self._trusted = True
        _note(self._served, owner, now)

    def failed(self, owner: str, now: float, *, is_open: bool) -> None:
        """Note that a job failed, and whether the circuit was open."""
        if is_open and self.may_pass(owner, now):
            self._trusted = False
        _note(self._failed, owner, now)


def _note(times: OrderedDict[str, float], owner: str, now: float) -> None:
    times[owner] = now
    times.move_to_end(owner)
    if len(times) > _CALLER_LIMIT:
        times.popitem(last=False)


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

    Callers who were served lately pass an open circuit. After the rest, each other caller may try
    once, one at a time and as many callers as failures opened the circuit. A caller whose try fails
    waits for another rest, so it cannot use up all tries.
    """

    def __init__(
        self, failures: int, rest_seconds: float, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._try_limit = failures
        self._rest_seconds = rest_seconds
        self._meter = meter
        self._clock = clock
        self._failures = Failures(failures)
        self._proven = Proven()
        self._opened_at: float | None = None
        self._trial_running = False
        self._waiting: dict[str, float] = {}  # callers whose try failed, and until when they wait
        meter.set(CIRCUIT_OPEN, value=_CLOSED)

    def enter(self, job: Job) -> Entry:
        """Admit a job; return as what. Raises CircuitOpen."""
        entry: Entry = "closed" if self._opened_at is None else self._enter_open(job)
        self._failures.waiting[job.owner] += 1
        return entry

    def _enter_open(self, job: Job) -> Entry:
        assert self._opened_at is not None
        if self._proven.may_pass(job.owner, self._clock()):
            return "proven"
        remaining = self._remaining(job.owner, self._opened_at)
        if remaining > 0 or self._trial_running:
            self._meter.add(REJECTED, "circuit_open")
            raise CircuitOpen(self._failures.number, max(1.0, remaining))
        self._trial_running = True
        self._meter.set(CIRCUIT_OPEN, value=_HALF_OPEN)
        return "trial"

    def _remaining(self, owner: str, opened_at: float) -> float:
        """Return the seconds until this caller may try; 0 or less is now."""
        now = self._clock()
        self._waiting = {o: until for o, until in self._waiting.items() if until > now}
        if len(self._waiting) >= self._try_limit:
            return min(self._waiting.values()) - now
        return self._waiting.get(owner, opened_at + self._rest_seconds) - now

    def leave(self, job: Job, error: BaseException | None, entry: Entry) -> None:
        """Record how a job ended."""
        self._failures.left(job.owner)
        is_open = self._opened_at is not None
        if entry == "trial":
            self._trial_running = False
        if _is_failure(error):
            self._proven.failed(job.owner, self._clock(), is_open=is_open)
        if entry == "closed" and is_open:
            return  # the job began before the circuit opened: it says nothing new
        if error is None:
            self._served(job)
        elif _is_failure(error):
            self._failed(job, entry)
        elif entry == "trial" and is_open:  # it ended for another reason, such as a bad input
            self._meter.set(CIRCUIT_OPEN, value=_OPEN)  # the next job is the trial

    def _served(self, job: Job) -> None:
        now = self._clock()
        self._failures.clear(job.owner, now)
        self._proven.served(job.owner, now)
        if self._opened_at is not None:
            log.info("circuit closed")
            self._opened_at = None
            self._waiting.clear()
            self._meter.set(CIRCUIT_OPEN, value=_CLOSED)

    def _failed(self, job: Job, entry: Entry) -> None:
        now = self._clock()
        self._failures.add(job)
        if self._opened_at is None:
            if not self._failures.are_the_models(now):
                return
            self._opened_at = now
            log.warning("circuit open", **{"safelight.failures": self._failures.number})
        elif entry == "trial":
            self._waiting[job.owner] = now + self._rest_seconds
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
        entry = circuit.enter(job)
        failure: BaseException | None = None
        try:
            return await handle(job)
        except BaseException as error:
            failure = error
            raise
        finally:
            circuit.leave(job, failure, entry)

    return guarded


def _is_failure(error: BaseException | None) -> bool:
    if isinstance(error, OutOfMemory | HostOutOfMemory):
        return False
    return isinstance(error, ModelFailure | WorkerLost)
