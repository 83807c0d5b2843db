"""The jobs that wait for a worker."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.queue_entry import Ticket
from tests.serving.jobs import a_job

NOBODY: Any = None  # no one awaits these answers


def ticket(number: int = 1, *, steps: int = 2, **more: Any) -> Ticket:
    return Ticket(a_job(str(number), steps=steps, **more), number, NOBODY)


def filled(*tickets: Ticket) -> Backlog:
    backlog = Backlog()
    for waiting in tickets:
        backlog.push(waiting)
    return backlog


def test_an_empty_backlog_has_no_head() -> None:
    backlog = Backlog()

    assert len(backlog) == 0
    assert backlog.heads() == []
    assert backlog.take(("key",), 5) == []
    assert list(backlog.ahead()) == []


def test_the_head_is_the_most_urgent_of_all_keys() -> None:
    low = ticket(1, priority="low", deadline=1.0)
    later, sooner = ticket(2, deadline=9.0), ticket(3, deadline=8.0, steps=50)
    high = ticket(4, priority="high", steps=9)
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


def test_jobs_alike_are_taken_in_the_order_they_came() -> None:
    tickets = [ticket(number) for number in (3, 1, 2)]

    assert [t.number for t in filled(*tickets).take(tickets[0].key, 9)] == [1, 2, 3]


def test_one_key_never_blocks_another() -> None:
    slow = [ticket(number, steps=50, priority="high") for number in range(5)]
    quick = ticket(9)
    backlog = filled(*slow, quick)

    assert backlog.take(quick.key, 4) == [quick]
    assert len(backlog) == 5


def test_no_more_are_taken_than_were_asked_for() -> None:
    tickets = [ticket(number) for number in range(5)]
    backlog = filled(*tickets)

    assert backlog.take(tickets[0].key, 0) == []
    assert backlog.take(tickets[0].key, 2) == tickets[:2]
    assert backlog.waiting(tickets[0].key) == len(backlog) == 3


def test_a_ticket_taken_out_is_passed_over_at_its_turn() -> None:
    gone, stays = ticket(1), ticket(2)
    backlog = filled(gone, stays)

    backlog.remove(gone)

    assert len(backlog) == 1
    assert backlog.heads()[0] is stays
    assert backlog.take(gone.key, 5) == [stays]
    assert len(backlog) == 0


def test_a_ticket_may_come_back_after_it_was_taken() -> None:
    first, second = ticket(1), ticket(2)
    backlog = filled(first, second)
    assert backlog.take(first.key, 1) == [first]

    backlog.push(first)

    assert len(backlog) == 2
    assert backlog.heads()[0] is first


def test_a_job_that_must_be_alone_is_of_a_key_of_its_own() -> None:
    alone, other, third = ticket(1, alone=True), ticket(2), ticket(3, alone=True)
    backlog = filled(alone, other, third)

    assert backlog.take(alone.key, 5) == [alone]
    assert backlog.take(other.key, 5) == [other]
    assert len(backlog) == 1


def test_a_place_is_how_many_are_more_urgent() -> None:
    first, second = ticket(1), ticket(2, steps=50)
    low, high = ticket(3, priority="low"), ticket(4, priority="high")
    backlog = filled(first, second, low, high)

    assert [backlog.place(t) for t in (high, first, second, low)] == [0, 1, 2, 3]

    backlog.remove(high)
    assert backlog.place(low) == 2


def test_who_is_in_a_workers_hands_waits_behind_nobody() -> None:
    held: Any = object()
    mine = ticket(9, priority="low")
    backlog = filled(ticket(1))
    mine.holder = held

    assert backlog.place(mine) == 0


def test_what_is_ahead_is_told_by_key_and_up_to_a_rank() -> None:
    normal, same, low = ticket(1), ticket(2), ticket(3, priority="low", steps=5)
    high = ticket(4, priority="high")
    backlog = filled(normal, same, low, high)
    units = normal.job.units

    assert sorted(backlog.ahead(0)) == [(high.key, 1, units)]
    assert sorted(backlog.ahead(1)) == [(high.key, 1, units), (normal.key, 2, units)]
    assert sorted(backlog.ahead(2)) == sorted(backlog.ahead())
    assert (low.key, 1, low.job.units) in set(backlog.ahead())


@pytest.mark.parametrize("leave", ["taken", "removed"])
def test_what_left_is_no_longer_ahead_of_anybody(leave: str) -> None:
    gone = ticket(1)
    backlog = filled(gone)
    if leave == "taken":
        backlog.take(gone.key, 1)
    else:
        backlog.remove(gone)

    assert list(backlog.ahead()) == []
    assert backlog.waiting(gone.key) == 0


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
        ticket(number, priority=priority, steps=steps, deadline=deadline)
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
            assert backlog.take(one.key, 2) == expected
            model = [t for t in model if t not in expected]
        assert backlog.heads()[:1] == model[:1]
        assert len(backlog) == sum(number for _, number, _ in backlog.ahead()) == len(model)
        assert all(backlog.place(t) == place for place, t in enumerate(model))


def test_a_ticket_that_was_taken_is_gone_for_whoever_would_remove_it() -> None:
    backlog = Backlog()
    one = ticket()
    backlog.push(one)
    backlog.take(one.key, 1)
    assert one.gone
    backlog.push(one)  # its worker was lost
    assert not one.gone
    assert len(backlog) == 1


def test_what_was_withdrawn_is_not_kept_until_its_turn() -> None:
    backlog = Backlog()
    first = ticket(0)
    backlog.push(first)
    for number in range(1, 1000):
        late = ticket(number, priority="low")
        backlog.push(late)
        backlog.remove(late)

    assert len(backlog) == 1
    assert sum(len(heap) for heap in backlog._heaps.values()) < 25
    assert backlog.heads() == [first]
