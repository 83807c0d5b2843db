"""A mean for what must not be underestimated."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from safelight.serving.statistics import conservative_mean


def test_what_is_worse_is_believed_soon() -> None:
    assert reduce(conservative_mean, [1.0] * 5, 0.0) > 0.8


def test_what_is_better_is_believed_slowly() -> None:
    assert 0.8 < reduce(conservative_mean, [0.0] * 5, 1.0) < 1
    assert reduce(conservative_mean, [0.0] * 200, 1.0) < 0.01


@given(st.floats(0, 9), st.floats(0, 9))
def test_it_stays_between_what_it_was_and_what_was_seen(mean: float, value: float) -> None:
    low, high = sorted((mean, value))
    assert low <= conservative_mean(mean, value) <= high


def test_of_what_changes_all_the_time_it_is_nearly_the_worst() -> None:
    assert 0.85 < reduce(conservative_mean, [0.0, 1.0] * 100, 0.5) < 1
