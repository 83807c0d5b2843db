"""What bounds the work taken on."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from safelight.errors import ModelError, NotReady, Overloaded, SafelightError, Stopping
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import PRIORITIES, Handler, Job, Outcome, Priority
from safelight.serving.policies.admission import SHARE, Bounds, admission
from tests.reading import FakeClock, value
from tests.serving.jobs import a_job, an_outcome, run


@dataclass
class Busy:
    """A load: something is under way, and all else is as a test wants it."""

    waiting: int = 0
    in_progress: int = 1
    work_seconds: float = 0.0
    needed_seconds: float = 0.0
    ranks: list[int] = field(default_factory=list)
    arrivals: list[Job] = field(default_factory=list)

    def arrived(self, job: Job) -> None:
        self.arrivals.append(job)

    def max_seconds(self, job: Job) -> float:
        return float("inf")  # never so sure that the prediction need not be asked

    def predicted_seconds(self, job: Job, rank: int) -> float:
        self.ranks.append(rank)
        return self.needed_seconds

    def caution(self, job: Job) -> float:
        return 1.0


async def serve(job: Job) -> Outcome:
    return an_outcome()


def admitted(load: Busy, bounds: Bounds, meter: Meter | None = None, **more: Any) -> Handler:
    return admission(serve, load, bounds, meter or Meter("tests"), clock=FakeClock(), **more)


def refusal(handle: Handler, job: Job | None = None) -> Overloaded:
    with pytest.raises(Overloaded) as refused:
        run(handle, job)
    return refused.value


def test_a_job_passes_while_there_is_room() -> None:
    meter = Meter("tests")

    assert run(admitted(Busy(waiting=8), Bounds(10), meter)) == an_outcome()
    assert value(meter, REJECTED) == 0


def test_a_refused_job_costs_the_model_nothing() -> None:
    async def never(job: Job) -> Outcome:
        raise AssertionError("a refused job was handed on")

    refusal(admission(never, Busy(waiting=9), Bounds(10), Meter("tests"), clock=FakeClock()))


@pytest.mark.parametrize("needed_seconds", [0, 1e12])
def test_a_service_at_rest_takes_whatever_comes(needed_seconds: float) -> None:
    load = Busy(waiting=99, in_progress=0, needed_seconds=needed_seconds)

    assert run(admitted(load, Bounds(1, concurrent=1)), a_job(deadline=-5)) == an_outcome()


@pytest.mark.parametrize(("priority", "room"), [("high", 10), ("normal", 9), ("low", 5)])
def test_a_priority_fills_no_more_of_the_queue_than_its_share(
    priority: Priority, room: int
) -> None:
    meter, job = Meter("tests"), a_job(priority=priority)

    assert run(admitted(Busy(waiting=room - 1), Bounds(10), meter), job) == an_outcome()

    error = refusal(admitted(Busy(waiting=room), Bounds(10), meter), job)
    assert f"{room} requests are waiting and the limit is {room}" in str(error)
    assert error.status == 503
    assert value(meter, REJECTED, reason="queue_full") == value(meter, REJECTED) == 1


def test_every_priority_has_a_share_and_the_more_urgent_never_the_smaller() -> None:
    shares = [SHARE[priority] for priority in PRIORITIES]

    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
    assert set(SHARE) == set(PRIORITIES)


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize(("queue", "less"), [(1, 1.0), (1, 0.5), (2, 0.1), (10, 0.0)])
def test_one_may_always_wait(priority: Priority, queue: int, less: float) -> None:
    assert Bounds(queue).of(priority, less) >= 1


def test_less_of_the_queue_may_be_used_while_the_service_is_pressed() -> None:
    share = [0.5]
    handle = admitted(Busy(waiting=5), Bounds(10), queue_share=lambda: share[0])
    high = a_job(priority="high")

    assert "the limit is 5" in str(refusal(handle, high))

    share[0] = 1.0
    assert run(handle, high) == an_outcome()


def test_so_many_wait_or_run_and_no_more() -> None:
    meter = Meter("tests")

    assert run(admitted(Busy(in_progress=2), Bounds(10, concurrent=3), meter)) == an_outcome()

    error = refusal(admitted(Busy(in_progress=3), Bounds(10, concurrent=3), meter))
    assert "3 requests wait or run and the limit is 3" in str(error)
    assert "MAX_CONCURRENT_REQUESTS" in str(error)
    assert value(meter, REJECTED, reason="concurrency") == value(meter, REJECTED) == 1


def test_without_a_bound_any_number_may_run() -> None:
    assert run(admitted(Busy(in_progress=1_000_000), Bounds(10))) == an_outcome()


@pytest.mark.parametrize("bounds", [Bounds(1), Bounds(99, concurrent=1)])
@pytest.mark.parametrize(("work_seconds", "retry_seconds"), [(37.5, 37.5), (0.0, 1.0)])
def test_a_caller_comes_back_once_the_work_at_hand_is_done(
    bounds: Bounds, work_seconds: float, retry_seconds: float
) -> None:
    error = refusal(admitted(Busy(waiting=1, work_seconds=work_seconds), bounds))

    assert error.retry_after_seconds == retry_seconds


def test_a_job_that_would_miss_its_deadline_is_refused_at_once() -> None:
    meter, clock = Meter("tests"), FakeClock(100.0)
    load = Busy(needed_seconds=30.0)
    handle = admission(serve, load, Bounds(10), meter, clock=clock)

    assert run(handle, a_job(deadline=130.0)) == an_outcome()

    error = refusal(handle, a_job(deadline=120.0))
    assert "ready in 30.0 seconds and your timeout is in 20.0" in str(error)
    assert error.retry_after_seconds == pytest.approx(10)
    assert value(meter, REJECTED, reason="too_late") == value(meter, REJECTED) == 1


def test_every_job_that_arrives_is_counted_admitted_or_not() -> None:
    load = Busy(needed_seconds=30.0)
    handle = admission(serve, load, Bounds(10), Meter("tests"), clock=FakeClock(100.0))
    jobs = [a_job(deadline=130.0), a_job(deadline=120.0)]

    run(handle, jobs[0])
    refusal(handle, jobs[1])

    assert load.arrivals == jobs


def test_retry_after_is_at_least_a_second() -> None:
    error = refusal(admitted(Busy(needed_seconds=10.0), Bounds(10)), a_job(deadline=9.9))

    assert error.retry_after_seconds == 1


@pytest.mark.parametrize(("priority", "rank"), [("high", 0), ("normal", 1), ("low", 2)])
def test_the_prediction_counts_jobs_of_at_least_the_same_priority(
    priority: Priority, rank: int
) -> None:
    load = Busy()

    run(admitted(load, Bounds(10)), a_job(priority=priority))

    assert load.ranks == [rank]


def test_the_bounds_are_looked_at_anew_for_each_job() -> None:
    load = Busy(waiting=9)
    handle = admitted(load, Bounds(10))
    refusal(handle)

    load.waiting = 8

    assert run(handle) == an_outcome()


@pytest.mark.parametrize(("error", "reason"), [(NotReady, "not_ready"), (Stopping, "stopping")])
def test_refusals_of_inner_handlers_are_counted(error: type[SafelightError], reason: str) -> None:
    meter = Meter("tests")

    async def refuse(job: Job) -> Outcome:
        raise error

    with pytest.raises(error):
        run(admission(refuse, Busy(), Bounds(10), meter, clock=FakeClock()))
    assert value(meter, REJECTED, reason=reason) == value(meter, REJECTED) == 1


def test_a_failure_of_the_model_is_no_refusal() -> None:
    meter = Meter("tests")

    async def fail(job: Job) -> Outcome:
        raise ModelError("ValueError")

    with pytest.raises(ModelError):
        run(admission(fail, Busy(), Bounds(10), meter, clock=FakeClock()))
    assert value(meter, REJECTED) == 0


def test_without_a_clock_of_its_own_it_reads_the_loops() -> None:
    handle = admission(serve, Busy(needed_seconds=1.0), Bounds(10), Meter("tests"))

    assert run(handle, a_job(deadline=1e12)) == an_outcome()
    refusal(handle, replace(a_job(), deadline=0.0))
