"""How a model's batches follow each other."""

import pytest

from safelight.serving.worker.pacing import Pacing


def after(*gaps: float, number: int = 16, seconds: float = 1.0) -> Pacing:
    """Return the pace after batches with such gaps before them."""
    pace = Pacing()
    for gap in gaps:
        pace.idled(gap)
        pace.finished(number, seconds)
    return pace


def test_a_model_that_never_idles_takes_all_that_waits() -> None:
    pace = after(*[0.0] * 20)
    pace.idled(0.0)
    assert pace.limit(32) == 32


def test_a_model_that_idles_shortly_between_batches_takes_half() -> None:
    pace = after(*[0.8] * 5)
    pace.idled(0.8)
    assert pace.limit(32) == 16


def test_where_two_groups_take_turns_each_is_taken_whole() -> None:
    pace = after(*[0.8] * 5)
    pace.idled(0.0)  # the other group waited already
    assert pace.limit(16) == 16


def test_a_long_pause_means_that_there_were_no_requests() -> None:
    pace = after(*[50.0] * 20)
    pace.idled(50.0)
    assert pace.limit(8) == 8


def test_one_may_always_be_taken() -> None:
    pace = after(*[0.9] * 5, number=1)
    pace.idled(0.9)
    assert pace.limit(1) == 1


def test_the_halving_ends_once_nothing_idles_for_long() -> None:
    pace = after(*[0.8] * 5, *[0.0] * 200)
    pace.idled(0.0)
    assert pace.limit(32) == 32


@pytest.mark.parametrize(("cost", "waits"), [(0.2, True), (0.006, False), (0.0, False)])
def test_callers_are_waited_for_where_a_batch_costs_much_whatever_its_size(
    cost: float, waits: bool
) -> None:
    seconds = Pacing().linger_seconds(cost)
    assert (seconds > 0) is waits
    assert seconds <= 0.15 * cost


def test_one_failed_wait_is_tolerated() -> None:
    pace = Pacing()
    pace.lingered(arrivals=3)
    pace.lingered(arrivals=0)
    assert pace.linger_seconds(1.0) > 0


def test_where_waiting_does_not_pay_it_is_only_tried_again_now_and_then() -> None:
    pace = Pacing()
    for _ in range(20):
        pace.lingered(arrivals=0)
    waits = [pace.linger_seconds(1.0) > 0 for _ in range(16)]
    assert waits.count(True) == 2
    pace.lingered(arrivals=3)
    assert pace.linger_seconds(1.0) > 0
