"""Estimates: intervals cover the true value in 95 % of cases; few observations give none."""

import random
from collections.abc import Callable
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from scipy.stats import t as student

from safelight.diagnosis.estimates import (
    LEAST_PAIRS,
    Estimate,
    agreement,
    deviation,
    mean,
    product,
    share,
)
from safelight.rules.thresholds import LEAST_COUNT

SEEDS = 400
MIN_COVERAGE = 0.91  # of 95 %, with the random variation of 400 seeds


def coverage(truth: float, draw: Callable[[random.Random], Estimate | None]) -> float:
    estimates = [draw(random.Random(seed)) for seed in range(SEEDS)]
    return sum(1 for each in estimates if each and each.low <= truth <= each.high) / SEEDS


@pytest.mark.parametrize("truth", [0.03, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [5, 20, 200])
def test_the_interval_of_a_share_covers_the_true_value(truth: float, count: int) -> None:
    assert (
        coverage(truth, lambda c: share(sum(c.random() < truth for _ in range(count)), count))
        >= MIN_COVERAGE
    )


@pytest.mark.parametrize("count", [LEAST_COUNT, 8, 20, 200])
def test_the_interval_of_a_mean_covers_the_true_value(count: int) -> None:
    def draw(c: random.Random) -> Estimate | None:
        return mean([c.gauss(0.7, 0.1) for _ in range(count)])

    assert coverage(0.7, draw) >= MIN_COVERAGE


@pytest.mark.parametrize("count", [LEAST_COUNT, 10, 20, 200])
@pytest.mark.parametrize(
    ("draw", "truth"), [(lambda c: c.gauss(0.5, 0.1), 0.1), (lambda c: c.random(), 12**-0.5)]
)
def test_the_interval_of_a_deviation_covers_the_true_value(
    draw: Callable[[random.Random], float], truth: float, count: int
) -> None:
    assert coverage(truth, lambda c: deviation([draw(c) for _ in range(count)])) >= MIN_COVERAGE


def test_equal_values_have_no_deviation() -> None:
    assert deviation([0.75] * 8) == Estimate(0.0, 0.0, 0.0, 8)


@pytest.mark.parametrize("count", [5, 6, 10, 30, 1000])
def test_the_interval_of_a_mean_is_students(count: int) -> None:
    values = [float(number) for number in range(count)]
    estimate = mean(values)
    assert estimate is not None
    half = float(student.ppf(0.975, count - 1)) * stdev(values) / count**0.5
    assert estimate.high - estimate.value == pytest.approx(half, rel=0.005)


def test_estimates_agree_with_textbook_values() -> None:
    estimate = share(90, 100)  # Wilson's interval: 0.8256 to 0.9448
    assert estimate is not None
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.8256, 0.9448)
    spread = deviation([float(n) for n in range(30)])
    assert spread is not None
    assert spread.value == pytest.approx(stdev(range(30)))


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), min_size=20, max_size=60))
def test_agreement_is_spearmans_correlation(pairs: list[tuple[int, float]]) -> None:
    left, right = [float(a) for a, _ in pairs], [b for _, b in pairs]
    estimate = agreement(list(zip(left, right, strict=True)))
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert estimate is None
        return
    assert estimate is not None
    assert estimate.value == pytest.approx(float(spearmanr(left, right).statistic), abs=1e-9)
    assert -1 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1


def test_a_correlation_needs_more_observations() -> None:
    pairs = [(float(number), float(number)) for number in range(LEAST_PAIRS)]
    assert agreement(pairs[1:]) is None
    assert agreement(pairs) is not None


@pytest.mark.parametrize("count", [0, 1, 2, LEAST_COUNT - 1])
def test_too_few_observations_give_no_estimate(count: int) -> None:
    values = [float(number) for number in range(count)]
    assert share(count, count) is None
    assert mean(values) is None
    assert deviation(values) is None
    assert agreement([(value, value) for value in values]) is None


@given(st.integers(LEAST_COUNT, 10_000), st.data())
def test_a_share_is_inside_its_interval_and_the_interval_inside_0_and_1(
    count: int, data: st.DataObject
) -> None:
    estimate = share(data.draw(st.integers(0, count)), count)
    assert estimate is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_a_product_has_the_smaller_count() -> None:
    result = product(Estimate(0.5, 0.4, 0.6, 100), Estimate(0.5, 0.3, 0.7, 30))
    assert (result.value, result.count) == (0.25, 30)
    assert (round(result.low, 3), round(result.high, 3)) == (0.12, 0.42)
