"""The jobs that wait for a worker."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.queue_entry import QueueEntry
from tests.serving.jobs import a_job

NOBODY: Any = None  # no one awaits these answers


def entry(number: int = 1, *, steps: int = 2, **more: Any) -> QueueEntry:
    return QueueEntry(a_job(str(number), steps=steps, **more), number, NOBODY)


def filled(*entries: QueueEntry) -> Backlog:
    backlog = Backlog()
    for waiting in entries:
        backlog.push(waiting)
    return backlog


def test_an_empty_backlog_has_no_head() -> None:
    backlog = Backlog()

    assert len(backlog) == 0
    assert backlog.heads() == []
    assert backlog.take((("key",), False), 5) == []
    assert list(backlog.ahead()) == []


def test_the_head_is_the_most_urgent_of_all_keys() -> None:
    low = entry(1, priority="low", deadline=1.0)
    later, sooner = entry(2, deadline=9.0), entry(3, deadline=8.0, steps=50)
    high = entry(4, priority="high", steps=9)
    backlog = filled(low, later, sooner, high)

    order = []
    for _ in range(4):
        (head, *_) = backlog.heads()
        assert head is not None
        order.append(head)
        backlog.remove(head)

    assert order == [high, sooner, later, low]
    assert backlog.heads() == []
    assert len(backlog) == 0


def test_all_that_wait_can_be_looked_at() -> None:
    entries = [entry(number, steps=number) for number in (1, 2, 3)]
    backlog = filled(*entries)
    backlog.remove(entries[1])

    assert {each.number for each in backlog} == {1, 3}


def test_jobs_alike_are_taken_in_the_order_they_came() -> None:
    entries = [entry(number) for number in (3, 1, 2)]

    assert [t.number for t in filled(*entries).take(entries[0].lane, 9)] == [1, 2, 3]


def test_one_key_never_blocks_another() -> None:
    slow = [entry(number, steps=50, priority="high") for number in range(5)]
    quick = entry(9)
    backlog = filled(*slow, quick)

    assert backlog.take(quick.lane, 4) == [quick]
    assert len(backlog) == 5


def test_take_respects_its_limit() -> None:
    entries = [entry(number) for number in range(5)]
    backlog = filled(*entries)

    assert backlog.take(entries[0].lane, 0) == []
    assert backlog.take(entries[0].lane, 2) == entries[:2]
    assert backlog.waiting(entries[0].lane) == len(backlog) == 3


def test_a_ticket_taken_out_is_passed_over_at_its_turn() -> None:
    gone, stays = entry(1), entry(2)
    backlog = filled(gone, stays)

    backlog.remove(gone)

    assert len(backlog) == 1
    assert backlog.heads()[0] is stays
    assert backlog.take(gone.lane, 5) == [stays]
    assert len(backlog) == 0


def test_a_ticket_may_come_back_after_it_was_taken() -> None:
    first, second = entry(1), entry(2)
    backlog = filled(first, second)
    assert backlog.take(first.lane, 1) == [first]

    backlog.push(first)

    assert len(backlog) == 2
    assert backlog.heads()[0] is first


def test_a_job_that_must_be_alone_is_of_a_key_of_its_own() -> None:
    alone, other, third = entry(1, alone=True), entry(2), entry(3, alone=True)
    backlog = filled(alone, other, third)

    assert backlog.take(alone.lane, 5) == [alone]
    assert backlog.take(other.lane, 5) == [other]
    assert len(backlog) == 1


def test_a_place_is_how_many_are_more_urgent() -> None:
    first, second = entry(1), entry(2, steps=50)
    low, high = entry(3, priority="low"), entry(4, priority="high")
    backlog = filled(first, second, low, high)

    assert [backlog.position(t) for t in (high, first, second, low)] == [0, 1, 2, 3]

    backlog.remove(high)
    assert backlog.position(low) == 2


def test_a_job_at_a_worker_has_position_zero() -> None:
    held: Any = object()
    mine = entry(9, priority="low")
    backlog = filled(entry(1))
    mine.holder = held

    assert backlog.position(mine) == 0


def test_jobs_ahead_are_counted_by_key_up_to_a_rank() -> None:
    normal, same, low = entry(1), entry(2), entry(3, priority="low", steps=5)
    high = entry(4, priority="high")
    backlog = filled(normal, same, low, high)
    units = normal.job.units

    assert sorted(backlog.ahead(0)) == [(high.key, 1, units)]
    assert sorted(backlog.ahead(1)) == [(high.key, 1, units), (normal.key, 2, units)]
    assert sorted(backlog.ahead(2)) == sorted(backlog.ahead())
    assert (low.key, 1, low.job.units) in set(backlog.ahead())


@pytest.mark.parametrize("leave", ["taken", "removed"])
def test_removed_jobs_are_not_ahead_of_others(leave: str) -> None:
    gone = entry(1)
    backlog = filled(gone)
    if leave == "taken":
        backlog.take(gone.lane, 1)
    else:
        backlog.remove(gone)

    assert list(backlog.ahead()) == []
    assert backlog.waiting(gone.lane) == 0


TICKETS = st.lists(
    st.tuples(st.sampled_from(["high", "normal", "low"]), st.integers(1, 3), st.floats(1, 9)),
    min_size=1,
    max_size=12,
)


@given(drawn=TICKETS, moves=st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=12))
def test_it_does_as_a_sorted_list_would(
    drawn: list[tuple[str, int, float]], moves: list[tuple[bool, int]]
) -> None:
    model = [
        entry(number, priority=priority, steps=steps, deadline=deadline)
        for number, (priority, steps, deadline) in enumerate(drawn)
    ]
    backlog = filled(*model)
    model.sort()

    for withdraw, place in moves:
        if not model:
            break
        one = model[place % len(model)]
        if withdraw:
            backlog.remove(one)
            model.remove(one)
        else:
            expected = [t for t in model if t.key == one.key][:2]
            assert backlog.take(one.lane, 2) == expected
            model = [t for t in model if t not in expected]
        assert backlog.heads()[:1] == model[:1]
        assert len(backlog) == sum(number for _, number, _ in backlog.ahead()) == len(model)
        assert all(backlog.position(t) == place for place, t in enumerate(model))


def test_a_taken_entry_is_marked_as_removed() -> None:
    backlog = Backlog()
    one = entry()
    backlog.push(one)
    backlog.take(one.lane, 1)
    assert one.removed
    backlog.push(one)  # its worker was lost
    assert not one.removed
    assert len(backlog) == 1


def test_heaps_with_many_removed_entries_are_compacted() -> None:
    backlog = Backlog()
    first = entry(0)
    backlog.push(first)
    for number in range(1, 1000):
        late = entry(number, priority="low")
        backlog.push(late)
        backlog.remove(late)

    assert len(backlog) == 1
    assert sum(len(heap) for heap in backlog._heaps.values()) < 25
    assert backlog.heads() == [first]
