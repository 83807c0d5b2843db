"""Values of a pair: bounded, and left out if unknown."""

from math import log

import pytest

from safelight.guard.pairs import Qualities, log_ratio, of_labels, of_qualities, plain


def test_plain_values_have_ratios_and_not_their_logarithms() -> None:
    ratio = log_ratio(3.0, 2.0)
    assert ratio is not None
    found = plain({"latency": ratio, "score": -0.25})
    assert found == {"latency": pytest.approx(1.5), "score": -0.25}


def test_a_ratio_is_bounded_so_that_one_value_cannot_hide_the_others() -> None:
    assert log_ratio(1e9, 1.0) == pytest.approx(log(100))
    assert log_ratio(1e-9, 1.0) == pytest.approx(-log(100))
    assert log_ratio(1.05, 1.0) == pytest.approx(log(1.05))


@pytest.mark.parametrize(("second", "first"), [(None, 1.0), (1.0, None), (0.0, 1.0), (1.0, -1.0)])
def test_an_unknown_or_impossible_ratio_is_none(second: float | None, first: float | None) -> None:
    assert log_ratio(second, first) is None


def test_unknown_qualities_are_left_out() -> None:
    values = of_qualities(Qualities(0.7, None, 0.9), Qualities(0.6, 0.5, 0.9), 0.1)
    assert values == {
        "score": pytest.approx(-0.1),
        "adherence": pytest.approx(0.0),
        "image_difference": 0.1,
    }


def test_labels_are_compared_with_those_of_a() -> None:
    first = [("cat", 0.9), ("dog", 0.1)]
    assert of_labels(first, [("cat", 0.7), ("dog", 0.3)]) == {
        "label_difference": 0.0,
        "calibration": pytest.approx(0.2),
    }
    assert of_labels(first, [("dog", 0.8)]) == {"label_difference": 1.0, "calibration": 0.9}
    assert of_labels([], first) == {}
