"""When a job would be done, behind others of its key."""

import pytest

from safelight.serving.engine.plan import Pace
from safelight.serving.engine.plan import end as ends


def cost(n: float) -> float:
    return 0.8 + 0.2 * n


def end(dues: list[float], due: float, wait: float, pace: Pace) -> float:
    return ends(dues, due, wait, pace)[0]


def pace(cap: int = 8, caution: float = 1.0, per_second: float = 0.0, workers: int = 1) -> Pace:
    return Pace(cost, cap, caution, per_second, workers)


def test_a_job_on_an_idle_device_takes_as_long_as_alone() -> None:
    assert end([], 5, 0.0, pace()) == pytest.approx(1.0)


def test_a_job_shares_the_batch_of_those_before_it() -> None:
    assert end([5, 5, 5], 5, 0.5, pace()) == pytest.approx(0.5 + cost(4))


def test_full_batches_come_before_it() -> None:
    assert end([9] * 5, 9, 0.5, pace(cap=2)) == pytest.approx(0.5 + 3 * cost(2))


def test_it_waits_for_the_next_batch_if_it_would_make_another_job_late() -> None:
    assert end([1.1], 5, 0.0, pace()) == pytest.approx(cost(1) + cost(1))
    assert end([1.3], 5, 0.0, pace(caution=1.1)) == pytest.approx(cost(1) + cost(1))
    assert end([1.3], 5, 0.0, pace()) == pytest.approx(cost(2))


def test_a_job_that_will_be_given_up_takes_no_time() -> None:
    assert end([0.9], 5, 0.0, pace()) == pytest.approx(cost(1))


def test_two_workers_take_the_batches_in_turn() -> None:
    assert end([9, 9], 9, 0.0, pace(cap=1, workers=2)) == pytest.approx(cost(1) + cost(1))


def test_its_batch_grows_while_it_waits_if_jobs_come_fast_enough() -> None:
    assert end([], 5, 1.0, pace(per_second=2)) == pytest.approx(1.0 + cost(3))
    assert end([], 9, 1.0, pace(per_second=100)) == pytest.approx(1.0 + cost(8))
    assert end([], 9, 0.0, pace(per_second=100)) == pytest.approx(cost(1))


def test_no_batch_grows_beyond_what_fills_while_its_jobs_have_time() -> None:
    assert pace(per_second=1).filling(2.0) == 1  # for two, one must come in 0.8 seconds
    assert pace(per_second=1.3).filling(2.0) == 2
    assert pace(per_second=1000).filling(2.0) == 5  # six take the whole time
    assert pace(per_second=1.3, caution=1.2).filling(2.0) == 1
    assert pace(per_second=1000).filling(100.0) == 8


def test_a_full_batch_is_the_latest_end() -> None:
    assert ends([5], 5, 0.5, pace()) == pytest.approx((0.5 + cost(2), 0.5 + cost(8)))
