"""Which of the jobs that are prepared the model makes next."""

from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.worker.choice import Batch, Prepared, choose, prepared
from tests.reading import FakeClock
from tests.serving.prepared import an_order, ids, ready


def chosen(*jobs: Prepared, now: float = 0.0) -> tuple[list[str], str]:
    batch = choose(list(jobs), now)
    return ids(batch.jobs), batch.stop_reason


def line(number: int, *, first_due: float) -> list[Prepared]:
    """Return jobs whose deadlines follow each other closely, at two seconds a batch."""
    return [ready(f"{n}", number=n, due=first_due + n * 0.05, cost=(2, 0.1)) for n in range(number)]


def greedy(jobs: list[Prepared], now: float) -> list[Prepared]:
    """Return as many of the most urgent as can be made without making one of them late."""
    waiting = sorted(jobs, key=lambda job: job.urgency)
    a, b = waiting[0].cost
    sizes = range(min(len(jobs), waiting[0].cap), 0, -1)
    fits = (n for n in sizes if all(now + a + b * n <= job.due for job in waiting[:n]))
    return waiting[: next(fits, 1)]


def test_of_nothing_nothing_is_chosen() -> None:
    assert choose([], 0.0) == Batch([], "queue_empty", [])


def test_the_most_urgent_come_first_by_priority_then_deadline_then_arrival() -> None:
    jobs = [
        ready("low", rank=2, due=1.0, number=0),
        ready("second", due=50.0, number=2),
        ready("third", due=50.0, number=3),
        ready("first", due=40.0, number=9),
        ready("high", rank=0, due=90.0, number=8),
    ]

    assert chosen(*jobs) == (["high", "first", "second", "third", "low"], "queue_empty")


def test_a_batch_is_of_one_key_that_of_the_most_urgent() -> None:
    jobs = [ready("a", due=9), ready("b", key="other", due=5), ready("c", key="other", due=8)]

    assert chosen(*jobs) == (["b", "c"], "queue_empty")


def test_a_batch_holds_as_many_as_pay_for_its_head() -> None:
    jobs = [ready(str(n), number=n, cap=2) for n in range(5)]

    assert chosen(*jobs) == (["0", "1"], "cap")
    assert chosen(*jobs[:2]) == (["0", "1"], "cap")
    assert chosen(jobs[0]) == (["0"], "queue_empty")


def test_a_job_that_must_be_alone_is() -> None:
    assert chosen(ready("a", alone=True), ready("b", number=2)) == (["a"], "alone")


def test_a_job_that_must_be_alone_joins_no_batch() -> None:
    jobs = [ready("a"), ready("b", number=2, alone=True), ready("c", number=3)]

    assert chosen(*jobs) == (["a", "c"], "queue_empty")


def test_a_batch_grows_only_while_all_its_jobs_are_in_time() -> None:
    jobs = [ready("hurried", due=2.5, cost=(1, 1)), ready("b", number=2), ready("c", number=3)]

    assert chosen(*jobs) == (["hurried"], "deadline")

    jobs[0].due = 3.5
    assert chosen(*jobs) == (["hurried", "b"], "deadline")

    jobs[0].due = 4.0
    assert chosen(*jobs) == (["hurried", "b", "c"], "queue_empty")


def test_a_job_that_would_itself_come_late_in_the_batch_waits_for_the_next() -> None:
    jobs = [ready("a", rank=0, cost=(1, 1)), ready("hurried", due=2.5)]

    assert chosen(*jobs) == (["a"], "deadline")


def test_a_job_that_would_be_late_even_alone_is_dropped_if_others_wait() -> None:
    jobs = [ready("hopeless", due=1.5, cost=(1, 1)), ready("b", number=2), ready("c", number=3)]

    assert chosen(*jobs) == (["b", "c"], "queue_empty")
    assert ids(choose(jobs, 0.0).late) == ["hopeless"]


def test_one_in_a_hurry_is_made_first_where_the_others_can_wait() -> None:
    jobs = [ready("hurried", due=2.15, cost=(2, 0.1)), *line(7, first_due=8.0)]

    assert chosen(*jobs) == (["hurried"], "deadline")


def test_an_urgent_job_is_given_up_if_more_jobs_behind_it_would_be_late() -> None:
    jobs = [ready("hurried", due=2.15, cost=(2, 0.1)), *line(7, first_due=3.0)]

    assert chosen(*jobs) == ([f"{n}" for n in range(7)], "deadline")
    assert choose(jobs, 0.0).late == []


def test_a_higher_priority_is_never_given_up_for_a_lower_one() -> None:
    jobs = [ready("hurried", rank=0, due=2.15, cost=(2, 0.1)), *line(7, first_due=3.0)]

    assert chosen(*jobs) == (["hurried"], "deadline")


@given(
    dues=st.lists(st.floats(2.2, 12), min_size=1, max_size=14),
    cap=st.integers(1, 8),
    cost=st.tuples(st.floats(0.1, 2), st.floats(0.01, 0.2)),
)
def test_giving_up_jobs_never_reduces_the_number_in_time(
    dues: list[float], cap: int, cost: tuple[float, float]
) -> None:
    """The greedy rival never postpones a job."""
    jobs = [ready(f"{n}", number=n, due=due, cap=cap, cost=cost) for n, due in enumerate(dues)]

    def in_time(*, rival: bool) -> int:
        now, waiting, made = 0.0, jobs, 0
        while waiting := [job for job in waiting if job.due > now + sum(cost)]:
            batch = greedy(waiting, now) if rival else choose(waiting, now).jobs
            now += cost[0] + cost[1] * len(batch)
            made += sum(job.due >= now for job in batch)
            waiting = [job for job in waiting if job not in batch]
        return made

    assert in_time(rival=False) >= in_time(rival=True)


def test_if_all_jobs_would_be_late_they_are_run_because_the_prediction_may_be_wrong() -> None:
    jobs = [ready("a", due=1.5, cost=(1, 1)), ready("b", due=1.6, cost=(1, 1), number=2)]

    assert chosen(*jobs) == (["a", "b"], "queue_empty")


def test_of_many_that_could_be_made_together_as_many_are_taken_as_the_pace_allows() -> None:
    jobs = [ready(f"{number}", number=number) for number in range(6)]

    batch = choose(jobs, 0.0, lambda waiting: waiting // 2)
    assert (len(batch.jobs), batch.stop_reason) == (3, "overlap")


def test_a_full_batch_is_not_said_to_be_cut_by_a_deadline() -> None:
    jobs = [ready("a", due=2.5, cost=(1, 1), cap=1), ready("b", number=2)]

    assert chosen(*jobs) == (["a"], "cap")


def test_jobs_whose_deadline_passed_are_late_and_cost_nothing() -> None:
    jobs = [ready("late", rank=0, due=5.0), ready("in time", due=5.1), ready("later", due=1.0)]

    batch = choose(jobs, 5.0)

    assert ids(batch.jobs) == ["in time"]
    assert ids(batch.late) == ["late", "later"]


def test_where_all_are_late_there_is_nothing_to_make() -> None:
    batch = choose([ready(due=1.0)], 5.0)

    assert (batch.jobs, batch.stop_reason) == ([], "queue_empty")
    assert ids(batch.late) == ["job"]


JOBS = st.lists(
    st.builds(
        lambda **more: ready(**more),
        key=st.sampled_from("ab"),
        rank=st.integers(0, 2),
        due=st.floats(0, 20),
        cap=st.integers(1, 5),
        cost=st.tuples(st.floats(0, 5), st.floats(0, 5)),
        alone=st.booleans(),
    ),
    max_size=8,
)


@given(jobs=JOBS, now=st.floats(0, 10))
def test_whatever_waits_the_choice_keeps_its_rules(jobs: list[Prepared], now: float) -> None:
    for number, job in enumerate(jobs):
        job.id, job.number = str(number), number

    batch = choose(jobs, now)
    waiting = [job for job in jobs if job not in batch.late]

    assert {id(job) for job in batch.late} >= {id(job) for job in jobs if job.due <= now}
    assert all(job.due <= now + sum(job.cost) for job in batch.late)
    assert bool(batch.jobs) == bool(waiting)
    if not waiting:
        return
    head = min(waiting, key=lambda job: job.urgency)
    a, b = head.cost
    rank = batch.jobs[0].rank
    done = now + a + b * len(batch.jobs)
    assert rank == head.rank
    assert batch.jobs[0] is head or now + a + b * 2 > head.due
    assert {job.key for job in batch.jobs} == {head.key}
    assert len(set(ids(batch.jobs))) == len(batch.jobs) <= head.cap
    assert len(batch.jobs) == 1 or not any(job.alone for job in batch.jobs)
    assert not any(now + a + b <= job.due < done for job in batch.jobs)


def test_the_deadline_of_an_order_is_set_on_the_workers_clock() -> None:
    order = an_order(
        "a",
        key="k",
        rank=2,
        remaining_seconds=7.5,
        cap=4,
        cost=(1.0, 0.5),
        alone=True,
        size=(64, 32),
    )

    job = prepared(order, 3, FakeClock(100.0))

    assert (job.id, job.key, job.cap, job.alone, job.work) == ("a", "k", 4, True, None)
    assert job.urgency == (2, 107.5, 3)
    assert (job.cost, job.size) == ((1.0, 0.5), (64, 32))
