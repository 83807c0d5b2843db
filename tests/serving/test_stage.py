"""The jobs that a worker has prepared."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.stage import Batch, Prepared, Stage, choose, prepared
from safelight.telemetry.timeline import Timeline
from tests.reading import FakeClock, at_once

WAIT_SECONDS = 30.0


def ready(job_id: str = "job", **more: Any) -> Prepared:
    """Return a job of normal priority that has a hundred seconds left at 0 and costs nothing."""
    asked: dict[str, Any] = {
        "key": "key", "rank": 1, "number": 1, "due": 100.0, "cap": 8, "cost": (0.0, 0.0),
        "alone": False, "size": (64, 64), **more,
    }  # fmt: skip
    return Prepared(id=job_id, timeline=Timeline(), **asked)


def ids(jobs: list[Prepared]) -> list[str]:
    return [job.id for job in jobs]


def chosen(*jobs: Prepared, now: float = 0.0) -> tuple[list[str], str]:
    batch = choose(list(jobs), now)
    return ids(batch.jobs), batch.stop_reason


# ── Choosing ─────────────────────────────────────────────────────────────────────────────────────


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


def test_nobody_joins_a_batch_who_must_be_alone() -> None:
    jobs = [ready("a"), ready("b", number=2, alone=True), ready("c", number=3)]

    assert chosen(*jobs) == (["a", "c"], "queue_empty")


def test_a_batch_grows_only_as_far_as_none_of_its_jobs_comes_late() -> None:
    jobs = [ready("hurried", due=2.5, cost=(1, 1)), ready("b", number=2), ready("c", number=3)]

    assert chosen(*jobs) == (["hurried"], "deadline")

    jobs[0].due = 3.5
    assert chosen(*jobs) == (["hurried", "b"], "deadline")

    jobs[0].due = 4.0
    assert chosen(*jobs) == (["hurried", "b", "c"], "queue_empty")


def test_a_job_that_would_itself_come_late_in_the_batch_waits_for_the_next() -> None:
    jobs = [ready("a", rank=0, cost=(1, 1)), ready("hurried", due=2.5)]

    assert chosen(*jobs) == (["a"], "deadline")


def test_a_job_that_would_be_late_even_alone_gives_way_to_others() -> None:
    jobs = [ready("hopeless", due=1.5, cost=(1, 1)), ready("b", number=2), ready("c", number=3)]

    assert chosen(*jobs) == (["b", "c"], "queue_empty")
    assert ids(choose(jobs, 0.0).late) == ["hopeless"]


def test_where_all_would_be_late_they_are_tried_for_what_was_predicted_may_be_wrong() -> None:
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
    done = now + a + b * len(batch.jobs)
    assert batch.jobs[0] is head
    assert {job.key for job in batch.jobs} == {head.key}
    assert len(set(ids(batch.jobs))) == len(batch.jobs) <= head.cap
    assert len(batch.jobs) == 1 or not any(job.alone for job in batch.jobs)
    assert not any(now + a + b <= job.due < done for job in batch.jobs)


# ── The stage ────────────────────────────────────────────────────────────────────────────────────


def taken(stage: Stage) -> list[str] | None:
    batch = stage.take()
    return None if batch is None else ids(batch.jobs)


def test_what_was_put_is_taken_once() -> None:
    stage = Stage(clock=FakeClock())
    stage.put([ready("a", cap=1), ready("b", cap=1, number=2)])

    assert taken(stage) == ["a"]
    assert taken(stage) == ["b"]

    stage.close()
    assert taken(stage) is None


def test_late_jobs_are_handed_back_once_on_the_stages_own_clock() -> None:
    clock = FakeClock(5.0)
    stage = Stage(clock=clock)
    stage.put([ready("late", due=4.0), ready("a")])

    batch = stage.take()

    assert batch is not None
    assert ids(batch.late) == ["late"]
    stage.put([ready("b")])
    assert (again := stage.take()) is not None
    assert (ids(again.jobs), again.late) == (["b"], [])


def test_a_batch_is_put_together_when_it_is_taken_and_not_before() -> None:
    stage = Stage(clock=FakeClock())
    stage.put([ready("a")])
    stage.put([ready("b", number=2), ready("urgent", rank=0, number=3)])

    assert taken(stage) == ["urgent", "a", "b"]


def test_a_job_cancelled_before_it_was_taken_is_given_back_and_never_made() -> None:
    stage = Stage(clock=FakeClock())
    job = ready("a")
    stage.expect("a")
    stage.put([job, ready("b", number=2)])

    assert stage.cancel("a") is job
    assert stage.cancelled("a")
    assert taken(stage) == ["b"]
    assert not stage.cancelled("b")


def test_a_job_cancelled_after_it_was_taken_is_told_to_whoever_makes_it() -> None:
    stage = Stage(clock=FakeClock())
    stage.expect("a")
    stage.put([ready("a")])
    assert taken(stage) == ["a"]

    assert stage.cancel("a") is None
    assert stage.cancelled("a")


def test_a_job_can_be_cancelled_before_it_is_prepared() -> None:
    stage = Stage(clock=FakeClock())
    stage.expect("a")

    assert stage.cancel("a") is None
    assert stage.cancelled("a")


def test_a_job_that_comes_again_under_its_id_starts_uncancelled() -> None:
    stage = Stage(clock=FakeClock())
    stage.cancel("a")

    stage.expect("a")

    assert not stage.cancelled("a")


def test_a_job_that_was_answered_is_forgotten() -> None:
    stage = Stage(clock=FakeClock())
    stage.cancel("a")

    stage.forget("a")
    stage.forget("never there")

    assert not stage.cancelled("a")


def test_a_closed_stage_gives_nothing_out_and_stops_what_is_being_made() -> None:
    stage = Stage(clock=FakeClock())
    stage.put([ready("a")])

    stage.close()

    assert taken(stage) is None
    assert stage.cancelled("whatever")


@pytest.mark.parametrize(
    ("wake", "expected"),
    [(lambda stage: stage.put([ready("a")]), ["a"]), (lambda stage: stage.close(), None)],
    ids=["put", "close"],
)
def test_whoever_waits_for_a_batch_is_woken(wake: Any, expected: list[str] | None) -> None:
    stage, got = Stage(clock=FakeClock()), list[list[str] | None]()
    thread = threading.Thread(target=lambda: got.append(taken(stage)), daemon=True)
    thread.start()

    wake(stage)
    thread.join(WAIT_SECONDS)

    assert got == [expected]


def test_threads_that_put_and_cancel_at_once_lose_no_job() -> None:
    stage, withdrawn = Stage(clock=FakeClock()), list[str]()

    def put_and_cancel(number: int) -> None:
        for turn in range(50):
            stage.put([ready(f"{number}-{turn}", cap=1000)])
            if turn % 2 and stage.cancel(f"{number}-{turn}") is not None:
                withdrawn.append(f"{number}-{turn}")

    at_once(put_and_cancel)

    made = taken(stage)
    assert made is not None
    assert sorted(made + withdrawn) == sorted(f"{n}-{turn}" for n in range(8) for turn in range(50))


def test_a_message_tells_a_job_and_its_deadline_is_set_on_this_sides_clock() -> None:
    fields = {
        "id": "a", "key": "k", "rank": 2, "left_seconds": 7.5, "cap": 4, "cost": [1.0, 0.5],
        "alone": True, "size": [64, 32],
    }  # fmt: skip

    job = prepared(fields, 3, FakeClock(100.0))

    assert (job.id, job.key, job.cap, job.alone, job.work) == ("a", "k", 4, True, None)
    assert job.urgency == (2, 107.5, 3)
    assert (job.cost, job.size) == ((1.0, 0.5), (64, 32))


def test_a_cancel_that_comes_after_the_answer_leaves_nothing_behind() -> None:
    stage = Stage(clock=FakeClock())
    stage.expect("a")
    stage.forget("a")
    stage.cancel("a")
    assert not stage.cancelled("a")
    assert not stage.knows("a")


def test_while_the_model_waits_for_callers_somebody_listens_to_them() -> None:
    stage = Stage()
    stage.lead(reader=False)
    stage.pace.made(2, 0.1)
    stage.put([ready("a", due=1e9, cost=(2.0, 0.0), cap=8)])
    heard: list[str] = []

    def reader() -> None:
        if stage.reader_may_listen():
            heard.append("listened")
            stage.put([ready("b", due=1e9, number=2, cap=8), ready("c", due=1e9, number=3, cap=8)])

    listening = threading.Thread(target=reader)
    listening.start()
    batch = stage.take()
    listening.join()

    assert batch is not None
    assert (ids(batch.jobs), heard) == (["a", "b", "c"], ["listened"])
