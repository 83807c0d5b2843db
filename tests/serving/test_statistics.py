"""A mean for what must not be underestimated, and a rate."""

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.statistics import Rate, conservative_mean


def test_the_mean_rises_fast() -> None:
    assert reduce(conservative_mean, [1.0] * 5, 0.0) > 0.8


def test_the_mean_falls_slowly() -> None:
    assert 0.8 < reduce(conservative_mean, [0.0] * 5, 1.0) < 1
    assert reduce(conservative_mean, [0.0] * 200, 1.0) < 0.01


@given(st.floats(0, 9), st.floats(0, 9))
def test_the_mean_stays_between_the_old_mean_and_the_value(mean: float, value: float) -> None:
    low, high = sorted((mean, value))
    assert low <= conservative_mean(mean, value) <= high


def test_the_mean_of_alternating_values_is_near_the_maximum() -> None:
    assert 0.85 < reduce(conservative_mean, [0.0, 1.0] * 100, 0.5) < 1


def test_a_rate_is_unknown_before_the_second_time() -> None:
    rate = Rate()
    assert rate.per_second(1.0) == 0
    rate.add(1.0)
    assert rate.per_second(2.0) == 0


def test_a_rate_is_that_of_the_last_times_and_falls_while_nothing_happens() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(float(second))
    for tenth in range(40):
        rate.add(100 + tenth / 10)

    now = 100 + 39 / 10
    assert pytest.approx(rate.per_second(now)) == 10
    assert rate.per_second(now + 100) < 0.5


def test_times_that_are_all_the_same_give_a_rate() -> None:
    rate = Rate()
    rate.add(1.0)
    rate.add(1.0)
    assert rate.per_second(1.0) > 1000
