"""How much figures weigh: intervals and chances, held to published examples."""

from random import Random

import pytest

from safelight.diagnosis.confidence import apart, by_chance, counted, variance
from safelight.metrics.catalog import QUALITY_SCORE


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 requests"), (1, "1 request"), (0.6, "1 request"), (1.6, "2 requests")],
)
def test_a_number_has_its_noun(number: float, said: str) -> None:
    assert counted(number, "request") == said


def test_two_shares_lie_apart_as_in_newcombes_example() -> None:
    assert apart(56, 70, 48, 80) == pytest.approx(0.0524, abs=1e-4)
    assert -apart(48, 80, 56, 70) == pytest.approx(0.3339, abs=1e-4)


def test_shares_of_nothing_are_not_apart() -> None:
    assert apart(0, 0, 1, 2) < 0
    assert apart(1, 2, 0, 0) < 0


def test_fisher_s_lady_guesses_three_cups_of_four_by_chance() -> None:
    assert by_chance(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert by_chance(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert by_chance(5, 20, 0, 0) == pytest.approx(1)


def test_a_histogram_tells_the_spread_of_what_it_counted() -> None:
    chance = Random(1)
    scores = [chance.gauss(0.78, 0.07) for _ in range(2000)]
    edges = (*QUALITY_SCORE.buckets, 1.0)
    below = {edge: float(sum(score <= edge for score in scores)) for edge in edges}

    assert variance(below) ** 0.5 == pytest.approx(0.07, rel=0.1)


def test_what_lies_in_one_bucket_or_in_none_has_no_spread_to_tell() -> None:
    assert variance({0.5: 0.0, 0.6: 7.0, 1.0: 7.0}) == 0
    assert variance({}) == variance({1.0: 0.0}) == 0
