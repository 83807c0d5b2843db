"""The interval is valid at every look, and as narrow as it says."""

import random
from math import inf
from statistics import fmean, stdev

import pytest

from safelight.guard.sequential import Moments, difference, half_width, interval, more_losses


def of(values: list[float]) -> Moments:
    moments = Moments()
    for value in values:
        moments.add(value)
    return moments


def test_the_moments_are_those_of_the_statistics_module() -> None:
    values = [random.Random(1).gauss(3, 2) for _ in range(100)]
    moments = of(values)
    assert moments.n == 100
    assert moments.mean == pytest.approx(fmean(values))
    assert moments.deviation == pytest.approx(stdev(values))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_too_few_values_say_nothing(values: list[float]) -> None:
    assert half_width(of(values), 0.01) == inf


def missed(chance: random.Random, kind: str, alpha: float, looks: int = 400) -> bool:
    """Tell whether the interval misses the mean 0 at any of many looks."""
    moments = Moments()
    for _ in range(looks):
        value = {
            "normal": lambda: chance.gauss(0, 1),
            "heavy": lambda: chance.gauss(0, 1) * (10 if chance.random() < 0.02 else 1),
            "rare": lambda: float(chance.random() < 0.02) - float(chance.random() < 0.02),
        }[kind]()
        moments.add(value)
        found = interval(moments, alpha, grain=1.0 if kind == "rare" else 0.0)
        if moments.n >= 10 and (found.above(0) or found.below(0)):
            return True
    return False


@pytest.mark.parametrize("kind", ["normal", "heavy", "rare"])
def test_an_interval_of_95_percent_misses_the_mean_in_at_most_5_percent_of_all_looks(
    kind: str,
) -> None:
    chance = random.Random(7)
    assert sum(missed(chance, kind, 0.05) for _ in range(400)) <= 0.05 * 400


def test_the_interval_shrinks_with_the_number_of_values() -> None:
    chance = random.Random(3)
    widths = [half_width(of([chance.gauss(0, 1) for _ in range(n)]), 0.01) for n in (20, 80, 320)]
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_equal_values_do_not_prove_that_rare_ones_never_come() -> None:
    """After n successes, a failure share of about log(1 / alpha) / n is still possible."""
    found = interval(of([0.0] * 100), 0.01, grain=1.0)
    assert 0.03 < found.high < 0.12
    assert interval(of([0.0] * 1000), 0.01, grain=1.0).high < 0.012


def test_the_difference_of_two_means_is_found_without_pairs() -> None:
    chance = random.Random(5)
    first = of([chance.gauss(0, 1) for _ in range(400)])
    second = of([chance.gauss(1, 1) for _ in range(400)])
    found = difference(first, second, 0.01)
    assert found.above(0)
    assert found.low < 1 < found.high


def test_the_signs_of_a_fair_coin_are_called_uneven_at_most_as_often_as_stated() -> None:
    chance, called = random.Random(11), 0
    for _ in range(400):
        losses = wins = 0
        for _ in range(300):
            is_loss = chance.random() < 0.5
            losses, wins = losses + is_loss, wins + (not is_loss)
            if more_losses(losses, wins) >= 1 / 0.05:
                called += 1
                break
    assert called <= 0.05 * 400


def test_losses_only_are_evidence_that_doubles_with_each() -> None:
    assert more_losses(0, 0) == 1
    assert more_losses(20, 0) > 1.8 * more_losses(19, 0)
    assert more_losses(0, 20) < 0.1
