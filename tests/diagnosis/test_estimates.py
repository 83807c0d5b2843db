"""Intervals hold the truth as often as they say, and no figure rests on too little."""

import random
from collections.abc import Callable
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from safelight.diagnosis.estimates import (
    LEAST_COUNT,
    Estimate,
    agreement,
    deviation,
    mean,
    product,
    share,
)

SEEDS = 400
LEAST_COVERAGE = 0.91  # of 95 %: what chance leaves of it in so many seeds


def coverage(truth: float, draw: Callable[[random.Random], Estimate | None]) -> float:
    found = [draw(random.Random(seed)) for seed in range(SEEDS)]
    return sum(1 for each in found if each and each.low <= truth <= each.high) / SEEDS


@pytest.mark.parametrize("truth", [0.03, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [20, 200])
def test_a_shares_interval_holds_the_truth(truth: float, count: int) -> None:
    assert (
        coverage(truth, lambda c: share(sum(c.random() < truth for _ in range(count)), count))
        >= LEAST_COVERAGE
    )


@pytest.mark.parametrize("count", [20, 200])
def test_a_means_interval_holds_the_truth(count: int) -> None:
    drawn = lambda c: mean([c.gauss(0.7, 0.1) for _ in range(count)])  # noqa: E731
    assert coverage(0.7, drawn) >= LEAST_COVERAGE


@pytest.mark.parametrize(
    ("draw", "truth"), [(lambda c: c.gauss(0.5, 0.1), 0.1), (lambda c: c.random(), 12**-0.5)]
)
def test_a_deviations_interval_holds_the_truth(
    draw: Callable[[random.Random], float], truth: float
) -> None:
    assert coverage(truth, lambda c: deviation([draw(c) for _ in range(200)])) >= LEAST_COVERAGE


def test_the_figures_are_those_of_the_text_books() -> None:
    found = share(90, 100)  # Wilson's interval: 0.8256 to 0.9448
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (0.8256, 0.9448)
    spread = deviation([float(n) for n in range(30)])
    assert spread is not None
    assert spread.value == pytest.approx(stdev(range(30)))


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1)), min_size=20, max_size=60))
def test_agreement_is_spearmans(pairs: list[tuple[int, float]]) -> None:
    left, right = [float(a) for a, _ in pairs], [b for _, b in pairs]
    found = agreement(list(zip(left, right, strict=True)))
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(float(spearmanr(left, right).statistic), abs=1e-9)
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


@pytest.mark.parametrize("count", [0, 1, 5, LEAST_COUNT - 1])
def test_nothing_is_said_of_too_few(count: int) -> None:
    values = [float(number) for number in range(count)]
    assert share(count, count) is None
    assert mean(values) is None
    assert deviation(values) is None
    assert agreement([(value, value) for value in values]) is None


@given(st.integers(LEAST_COUNT, 10_000), st.data())
def test_a_share_lies_within_its_interval_and_that_within_0_and_1(
    count: int, data: st.DataObject
) -> None:
    found = share(data.draw(st.integers(0, count)), count)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_product_rests_on_the_smaller_count() -> None:
    made = product(Estimate(0.5, 0.4, 0.6, 100), Estimate(0.5, 0.3, 0.7, 30))
    assert (made.value, made.count) == (0.25, 30)
    assert (round(made.low, 3), round(made.high, 3)) == (0.12, 0.42)
