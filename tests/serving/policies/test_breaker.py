"""What leaves a model alone that fails."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from safelight.errors import (
    BadInput,
    Cancelled,
    CircuitOpen,
    InvalidOutput,
    ModelError,
    NotReady,
    OutOfMemory,
    Overloaded,
    SafelightError,
    Timeout,
    WorkerLost,
)
from safelight.metrics.catalog import CIRCUIT_OPEN, REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.policies.breaker import Failures, Proven, breaker
from tests.reading import FakeClock, value
from tests.serving.jobs import a_job, an_outcome, run

FAILURES: tuple[Callable[[], SafelightError], ...] = (
    WorkerLost,
    lambda: ModelError("ValueError"),
    lambda: InvalidOutput("black"),
)
OWN_REASONS: tuple[Callable[[], BaseException], ...] = (
    OutOfMemory,
    NotReady,
    Cancelled,
    BadInput,
    lambda: Timeout(1.0),
    lambda: Overloaded("full", 1.0),
    asyncio.CancelledError,
)


class Model:
    """A handler that obeys: it fails with `error`, or serves."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls = 0

    async def __call__(self, job: Job) -> Outcome:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return an_outcome()


class Guarded:
    """A model behind a breaker that opens after three failures and rests for thirty seconds."""

    def __init__(self, handle: Handler | None = None, *, failures: int = 3) -> None:
        self.clock, self.meter, self.model = FakeClock(1000.0), Meter("tests"), Model()
        self.handle = breaker(
            handle or self.model,
            failures=failures,
            rest_seconds=30.0,
            meter=self.meter,
            clock=self.clock,
        )

    @property
    def state(self) -> float:
        return value(self.meter, CIRCUIT_OPEN)

    def fail(
        self,
        times: int,
        error: BaseException | None = None,
        *,
        owner: str = "",
        instruction: str | None = None,
    ) -> None:
        """Fail as often, each time with another job unless there is an instruction."""
        self.model.error = error or WorkerLost()
        for _ in range(times):
            with pytest.raises(type(self.model.error)):
                run(self.handle, a_job(owner=owner, instruction=instruction or uuid4().hex))
        self.model.error = None

    def serve(self, owner: str = "") -> None:
        """Serve a job of a caller."""
        assert run(self.handle, a_job(owner=owner)) == an_outcome()

    def refused(self, owner: str = "") -> CircuitOpen:
        with pytest.raises(CircuitOpen) as refused:
            run(self.handle, a_job(owner=owner))
        return refused.value


def test_the_log_says_when_the_circuit_opens_and_closes() -> None:
    guarded = Guarded()
    with capture_logs() as lines:
        guarded.fail(3)
        guarded.clock.now += 31
        guarded.serve()
        guarded.serve()
    assert [line["event"] for line in lines] == ["circuit open", "circuit closed"]
    assert lines[0]["safelight.failures"] == 3


@pytest.mark.parametrize("failure", FAILURES)
def test_after_so_many_failures_in_a_row_the_model_is_left_alone(
    failure: Callable[[], SafelightError],
) -> None:
    guarded = Guarded()
    guarded.fail(2, failure())
    assert guarded.state == 0
    guarded.fail(1, failure())
    assert guarded.state == 1

    error = guarded.refused()

    assert guarded.model.calls == 3
    assert "failed 3 times in a row" in str(error)
    assert error.status == 503
    assert value(guarded.meter, REJECTED, reason="circuit_open") == 1


def test_a_success_between_failures_begins_the_count_anew() -> None:
    guarded = Guarded()
    for _ in range(3):
        guarded.fail(2)
        run(guarded.handle)

    assert guarded.state == 0
    assert guarded.model.calls == 9


@pytest.mark.parametrize("error", OWN_REASONS)
def test_other_errors_never_open_the_circuit(error: Callable[[], BaseException]) -> None:
    guarded = Guarded()
    guarded.fail(10, error())

    assert run(guarded.handle) == an_outcome()
    assert guarded.state == 0


@pytest.mark.parametrize("error", OWN_REASONS)
def test_other_errors_do_not_close_the_circuit(error: Callable[[], BaseException]) -> None:
    guarded = Guarded()
    guarded.fail(2)
    guarded.fail(1, error())
    guarded.fail(1)

    assert guarded.state == 1


def test_retry_after_is_the_remaining_rest() -> None:
    guarded = Guarded()
    guarded.fail(3)

    assert guarded.refused().retry_after_seconds == 30
    guarded.clock.now += 20
    assert guarded.refused().retry_after_seconds == 10
    guarded.clock.now += 9.9
    assert guarded.refused().retry_after_seconds == 1


def test_after_its_rest_a_model_that_serves_again_is_trusted_again() -> None:
    guarded = Guarded()
    guarded.fail(3)
    guarded.clock.now += 30

    assert run(guarded.handle) == an_outcome()
    assert guarded.state == 0

    guarded.fail(2)
    assert guarded.state == 0


def test_a_try_that_fails_brings_another_rest_at_once() -> None:
    guarded = Guarded()
    guarded.fail(3)
    guarded.clock.now += 30
    guarded.fail(1)
    assert guarded.state == 1

    guarded.clock.now += 29
    error = guarded.refused()
    assert "failed 4 times in a row" in str(error)
    assert guarded.model.calls == 4

    guarded.clock.now += 1
    assert run(guarded.handle) == an_outcome()


@pytest.mark.parametrize("error", OWN_REASONS)
def test_a_try_that_ended_for_a_reason_of_its_own_leaves_it_open_to_the_next(
    error: Callable[[], BaseException],
) -> None:
    guarded = Guarded()
    guarded.fail(3)
    guarded.clock.now += 30

    guarded.fail(1, error())

    assert guarded.state == 1
    assert run(guarded.handle) == an_outcome()
    assert guarded.state == 0


class Gates:
    """A handler whose jobs end when the test ends them."""

    def __init__(self) -> None:
        self.answers: dict[str, asyncio.Future[Outcome]] = {}

    async def __call__(self, job: Job) -> Outcome:
        self.answers[job.id] = asyncio.get_running_loop().create_future()
        return await self.answers[job.id]


async def begun(guarded: Guarded, job_id: str, owner: str = "") -> "asyncio.Task[Outcome]":
    async def served() -> Outcome:
        return await guarded.handle(a_job(job_id, owner=owner, instruction=job_id))

    task = asyncio.create_task(served())
    await asyncio.sleep(0)
    return task


async def refused(guarded: Guarded) -> CircuitOpen:
    task = await begun(guarded, "another")
    assert task.done(), "the job was let in"
    with pytest.raises(CircuitOpen) as refused:
        await task
    return refused.value


async def failed(gates: Gates, task: "asyncio.Task[Outcome]", job_id: str) -> None:
    gates.answers[job_id].set_exception(WorkerLost())
    with pytest.raises(WorkerLost):
        await task


async def opened(guarded: Guarded, gates: Gates) -> None:
    for turn in range(3):
        await failed(gates, await begun(guarded, str(turn)), str(turn))


def test_exactly_one_job_tries_the_model_and_the_others_are_refused_meanwhile() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        await opened(guarded, gates)
        guarded.clock.now += 31
        tries = await begun(guarded, "try")
        assert guarded.state == 0.5
        for _ in range(5):
            assert (await refused(guarded)).retry_after_seconds == 1

        gates.answers["try"].set_result(an_outcome())
        await tries
        assert guarded.state == 0
        late = await begun(guarded, "welcome")
        gates.answers["welcome"].set_result(an_outcome())
        await late

    asyncio.run(scene())


def test_a_cancelled_try_leaves_it_open_and_lets_the_next_one_try() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        await opened(guarded, gates)
        guarded.clock.now += 31
        tries = await begun(guarded, "try")
        tries.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tries
        assert guarded.state == 1

        again = await begun(guarded, "again")
        assert guarded.state == 0.5
        await refused(guarded)
        gates.answers["again"].set_result(an_outcome())
        await again

    asyncio.run(scene())
    assert guarded.state == 0


def test_a_success_that_began_before_it_opened_does_not_close_it() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        early = await begun(guarded, "early")
        await opened(guarded, gates)
        gates.answers["early"].set_result(an_outcome())
        await early

    asyncio.run(scene())
    assert guarded.state == 1
    guarded.refused()


def test_a_failure_that_began_before_it_opened_does_not_end_a_try_under_way() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        early = await begun(guarded, "early")
        await opened(guarded, gates)
        guarded.clock.now += 31
        tries = await begun(guarded, "try")
        await failed(gates, early, "early")
        guarded.clock.now += 31
        await refused(guarded)
        gates.answers["try"].set_result(an_outcome())
        await tries

    asyncio.run(scene())
    assert guarded.state == 0


# ── Whose failures count ─────────────────────────────────────────────────────────────────────────


def test_one_caller_who_repeats_one_job_never_opens_the_circuit() -> None:
    guarded = Guarded()
    guarded.fail(100, instruction="a poisonous job")

    guarded.serve("another")
    assert guarded.state == 0


def test_one_caller_never_opens_the_circuit_for_others_who_are_served() -> None:
    guarded = Guarded()
    for _ in range(20):
        guarded.serve("ann")
        guarded.fail(50, owner="mallory")
        guarded.clock.now += 25

    assert guarded.state == 0
    assert guarded.model.calls == 20 * 51


def test_one_failure_of_another_caller_does_not_open_the_circuit_for_a_poisonous_one() -> None:
    guarded = Guarded(failures=5)
    guarded.serve("ann")
    guarded.fail(50, owner="mallory")
    guarded.fail(1, owner="ann")
    assert guarded.state == 0

    guarded.fail(1, owner="bob")
    assert guarded.state == 1


@pytest.mark.parametrize("owners", [("ann", "bob", "ann"), ("ann", "bob", "cid")])
def test_failures_of_several_callers_open_the_circuit_as_fast_as_ever(
    owners: tuple[str, ...],
) -> None:
    guarded = Guarded()
    guarded.serve("ann")
    for owner in owners:
        assert guarded.state == 0
        guarded.fail(1, owner=owner, instruction="the same job")

    assert guarded.state == 1


def test_a_caller_counts_alone_again_when_nobody_else_was_served_for_long() -> None:
    guarded = Guarded()
    guarded.serve("ann")
    guarded.clock.now += 599
    guarded.fail(9, owner="bob")
    assert guarded.state == 0

    guarded.clock.now += 1
    guarded.fail(1, owner="bob")
    assert guarded.state == 1


def test_after_the_rest_a_poisonous_caller_does_not_use_up_the_tries_of_others() -> None:
    guarded = Guarded()
    guarded.fail(3, owner="mallory")
    guarded.clock.now += 30
    guarded.fail(1, owner="mallory")

    assert guarded.refused("mallory").retry_after_seconds == 30
    guarded.serve("ann")
    assert guarded.state == 0


def test_a_broken_model_is_tried_by_few_callers_in_each_rest() -> None:
    guarded = Guarded()
    guarded.fail(3)
    guarded.clock.now += 30
    for owner in ("ann", "bob", "cid"):
        guarded.fail(1, owner=owner)
    guarded.clock.now += 10

    assert guarded.refused("dan").retry_after_seconds == 20
    assert guarded.model.calls == 6
    guarded.clock.now += 20
    guarded.serve("dan")


@pytest.mark.parametrize(("limit", "opens_after"), [(1, 2), (2, 2), (4, 4)])
def test_the_limit_counts_the_failures_of_a_caller_who_is_alone(
    limit: int, opens_after: int
) -> None:
    failures = Failures(limit)
    for number in range(opens_after):
        assert not failures.are_the_models(0.0)
        failures.add(a_job(instruction=f"job {number}"))

    assert failures.are_the_models(0.0)


def test_what_is_kept_of_failures_is_bounded() -> None:
    failures = Failures(5)
    for owner in ("ann", "bob", "cid"):
        failures.clear(owner, 0.0)
    for number in range(1000):
        failures.add(a_job(owner="mallory", instruction=f"job {number}"))
    assert sum(map(len, failures._by_owner.values())) <= 5
    assert len(failures._served) == 2


def test_a_caller_who_waits_is_not_refused_because_of_another_callers_failures() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        waiting = asyncio.create_task(_served(guarded, a_job("ann", owner="ann")))
        await asyncio.sleep(0)
        for number in range(20):
            name = str(number)
            await failed(gates, await begun(guarded, name), name)
        assert guarded.state == 0
        gates.answers["ann"].set_result(an_outcome())
        await waiting

    asyncio.run(scene())


async def _served(guarded: Guarded, job: Job) -> Outcome:
    return await guarded.handle(job)


def test_two_callers_whose_inputs_fail_do_not_open_the_circuit_for_one_who_is_served() -> None:
    guarded = Guarded(failures=5)
    guarded.serve("ann")
    for _ in range(20):
        guarded.fail(3, owner="mallory")
        guarded.fail(2, owner="mallet")
        assert guarded.state == 1
        guarded.refused("mallory")
        guarded.refused("a stranger")
        guarded.serve("ann")  # the model works: closed again
        assert guarded.state == 0


def test_a_model_that_fails_for_one_who_was_served_is_left_alone_by_all() -> None:
    guarded = Guarded(failures=5)
    for owner in ("ann", "bob", "cid"):
        guarded.serve(owner)
    guarded.fail(3, owner="mallory")
    guarded.fail(2, owner="mallet")
    guarded.fail(1, owner="ann")

    for owner in ("ann", "bob", "cid"):
        guarded.refused(owner)
    guarded.clock.now += 30
    guarded.serve("bob")
    assert guarded.state == 0


def test_a_try_that_fails_after_a_proven_caller_was_served_leaves_it_closed() -> None:
    gates = Gates()
    guarded = Guarded(gates)

    async def scene() -> None:
        proof = await begun(guarded, "proof", owner="ann")
        gates.answers["proof"].set_result(an_outcome())
        await proof
        for owner in ("mallory", "mallet", "malice"):
            await failed(gates, await begun(guarded, owner, owner), owner)
        assert guarded.state == 1
        guarded.clock.now += 31
        tries = await begun(guarded, "try")
        proven = await begun(guarded, "again", owner="ann")
        gates.answers["again"].set_result(an_outcome())
        await proven
        await failed(gates, tries, "try")

    asyncio.run(scene())
    assert guarded.state == 0


def test_one_who_failed_lately_does_not_pass_an_open_circuit() -> None:
    guarded = Guarded(failures=5)
    guarded.serve("mallory")
    guarded.serve("mallet")
    for owner in ("mallory", "mallet", "mallory", "mallet", "mallory"):
        guarded.fail(1, owner=owner)
    guarded.refused("mallory")
    guarded.clock.now += 601
    guarded.serve("mallory")
    assert guarded.state == 0


def test_what_is_kept_of_proven_callers_is_bounded() -> None:
    proven = Proven()
    for number in range(5000):
        proven.served(str(number), 0.0)
        proven.failed(str(number), 0.0, is_open=True)
    assert len(proven._served) == len(proven._failed) == 1000
