"""A mean for what must not be underestimated."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.statistics import conservative_mean


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
