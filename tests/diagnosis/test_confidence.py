"""Intervals and tests for shares, compared with published examples and with SciPy."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact  # type: ignore[import-untyped]

from safelight.diagnosis.confidence import (
    bucket_variance,
    confidence_of,
    fisher_p_value,
    least_difference,
    wilson,
)
from safelight.metrics.catalog import QUALITY_SCORE

share_counts = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("value", "confidence"), [(0.1, 0.5), (0.2, 0.5), (0.3, 0.725), (0.4, 0.95), (1.0, 0.95)]
)
def test_confidence_rises_linearly_from_the_limit(value: float, confidence: float) -> None:
    assert confidence_of(value, 0.2, 0.4) == pytest.approx(confidence)


@given(share_counts)
def test_the_wilson_interval_agrees_with_scipy(counts: tuple[int, int]) -> None:
    hits, tries = counts
    expected = binomtest(hits, tries).proportion_ci(method="wilson")

    assert wilson(hits, tries) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_the_least_difference_agrees_with_newcombes_example() -> None:
    assert least_difference(56, 70, 48, 80) == pytest.approx(0.0524, abs=1e-4)
    assert -least_difference(48, 80, 56, 70) == pytest.approx(0.3339, abs=1e-4)


def test_shares_without_tries_have_no_difference() -> None:
    assert least_difference(0, 0, 1, 2) < 0
    assert least_difference(1, 2, 0, 0) < 0


def test_fishers_p_value_agrees_with_his_example_of_tea_cups() -> None:
    assert fisher_p_value(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert fisher_p_value(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert fisher_p_value(5, 20, 0, 0) == pytest.approx(1)


@given(share_counts, share_counts)
def test_fishers_p_value_agrees_with_scipy(first: tuple[int, int], second: tuple[int, int]) -> None:
    table = [[hits, tries - hits] for hits, tries in (first, second)]
    expected = fisher_exact(table, alternative="greater").pvalue

    assert fisher_p_value(*first, *second) == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_the_variance_of_a_histogram_is_near_that_of_its_values() -> None:
    random = Random(1)
    scores = [random.gauss(0.78, 0.07) for _ in range(2000)]
    edges = (*QUALITY_SCORE.buckets, 1.0)
    cumulative = {edge: float(sum(score <= edge for score in scores)) for edge in edges}

    assert bucket_variance(cumulative) ** 0.5 == pytest.approx(0.07, rel=0.1)


def test_a_histogram_with_one_bucket_or_without_values_has_no_variance() -> None:
    assert bucket_variance({0.5: 0.0, 0.6: 7.0, 1.0: 7.0}) == 0
    assert bucket_variance({}) == bucket_variance({1.0: 0.0}) == 0
