"""Where jobs that are prepared wait for the model."""

import threading
from typing import Any

import pytest

from safelight.serving.worker.stage import Stage
from tests.reading import FakeClock, at_once
from tests.serving.prepared import ids, ready

WAIT_SECONDS = 30.0


def taken(stage: Stage) -> list[str] | None:
    batch = stage.take()
    return None if batch is None else ids(batch.jobs)


def test_a_job_is_taken_once() -> None:
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


def test_cancel_returns_a_waiting_job() -> None:
    stage = Stage(clock=FakeClock())
    job = ready("a")
    stage.expect("a")
    stage.put([job, ready("b", number=2)])

    assert stage.cancel("a") is job
    assert stage.cancelled("a")
    assert taken(stage) == ["b"]
    assert not stage.cancelled("b")


def test_cancel_marks_a_running_job() -> None:
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


def test_a_job_with_a_result_is_forgotten() -> None:
    stage = Stage(clock=FakeClock())
    stage.cancel("a")

    stage.forget("a")
    stage.forget("never there")

    assert not stage.cancelled("a")


def test_a_closed_stage_gives_no_batch_and_cancels_running_jobs() -> None:
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
def test_a_waiting_take_is_woken(wake: Any, expected: list[str] | None) -> None:
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


def test_a_cancel_after_the_result_has_no_effect() -> None:
    stage = Stage(clock=FakeClock())
    stage.expect("a")
    stage.forget("a")
    stage.cancel("a")
    assert not stage.cancelled("a")
    assert not stage.expects("a")


def test_the_reader_reads_while_the_model_lingers() -> None:
    stage = Stage()
    stage.lead(reader=False)
    stage.pacing.finished(2, 0.1)
    stage.put([ready("a", due=1e9, cost=(2.0, 0.0), cap=8)])
    calls: list[str] = []

    def reader() -> None:
        if stage.reader_may_listen():
            calls.append("listened")
            stage.put([ready("b", due=1e9, number=2, cap=8), ready("c", due=1e9, number=3, cap=8)])

    listening = threading.Thread(target=reader)
    listening.start()
    batch = stage.take()
    listening.join()

    assert batch is not None
    assert (ids(batch.jobs), calls) == (["a", "b", "c"], ["listened"])


def test_while_a_job_is_prepared_elsewhere_the_reader_keeps_listening() -> None:
    stage = Stage(clock=FakeClock(0.0))
    batches: list[list[str] | None] = []
    taking = threading.Thread(target=lambda: batches.append(taken(stage)))
    stage.prepare()
    taking.start()
    while not stage._model_waits:
        threading.Event().wait(0.001)

    stage.put([ready("small")], by_reader=True)  # it would give the lead to a model that waits
    taking.join(WAIT_SECONDS)

    assert batches == [["small"]]
    assert not stage.model_leads()  # or it would sleep, and nothing would wake it
    with stage.preparing():
        stage.put([ready("large")])
    assert taken(stage) == ["large"]
    assert not stage.model_leads()  # the reader has the lead, until it finds the model waiting


def test_a_failed_preparation_frees_the_reader() -> None:
    stage = Stage()
    stage.prepare()
    with pytest.raises(ValueError, match="damaged"), stage.preparing():
        raise ValueError("damaged")
    stage.lead(reader=False)
    assert stage.model_leads()


@pytest.mark.parametrize(
    ("head", "seconds"),
    [({"due": 1e9}, 0.3), ({"due": 2.05}, 0.05), ({"due": 1e9, "alone": True}, 0.0)],
)
def test_lingering_never_makes_a_waiting_job_late(
    head: dict[str, Any], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(0.0)
    stage = Stage(clock=clock)
    stage.pacing.finished(2, 2.0)

    def wait(timeout: float) -> None:
        clock.now += timeout

    monkeypatch.setattr(stage._changed, "wait", wait)
    stage.put([ready("a", cost=(2.0, 0.0), **head)])
    assert taken(stage) == ["a"]
    assert clock.now == pytest.approx(seconds)


def test_lingering_leaves_time_for_a_batch_of_all_that_are_here_and_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(0.0)
    stage = Stage(clock=clock)
    stage.pacing.finished(2, 2.0)

    def wait(timeout: float) -> None:
        clock.now += timeout

    monkeypatch.setattr(stage._changed, "wait", wait)
    cost = (1.0, 0.1)
    stage.put([ready(f"{n}", number=n, due=1.0 + 0.35, cost=cost) for n in range(2)])
    assert taken(stage) == ["0", "1"]
    assert clock.now == pytest.approx(0.05)  # a batch of three takes 1.3

    stage.put([ready("next", due=clock.now + 2.22, key="other", number=3, cost=cost)])
    stage.put([ready("first", rank=0, number=2, cost=cost)])
    before = clock.now
    assert taken(stage) == ["first"]
    assert clock.now - before == pytest.approx(0.0)  # two of its key take 1.2, and the next one 1.1
