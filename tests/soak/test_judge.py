"""A leak is seen, level curves are not accused, and a soak that is too short says so."""

import json
from math import sin
from pathlib import Path
from random import Random

import pytest

from tests.soak.judge import HOUR, hours_to_see, judge, leaking, longer, steady

MEGABYTE = 1e6
LEAST = 0.5e6
STEP_SECONDS = 120.0
# Private memory of real processes in a soak of 20 minutes.
MEASURED = json.loads(Path(__file__).with_name("measured.json").read_text())


def level(hours: float, noise: float, seed: int) -> list[tuple[float, float]]:
    """Return a curve that stays level: correlated noise, and a slow wave, as allocators have."""
    chance, value, curve = Random(seed), 0.0, []
    for place in range(round(hours * HOUR / STEP_SECONDS)):
        value = 0.7 * value + chance.gauss(0, noise)
        curve.append((place * STEP_SECONDS, 74e6 + value + noise * sin(place / 7)))
    return curve


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_a_megabyte_an_hour_is_seen_in_eight_hours(seed: int) -> None:
    curve = steady(level(8, noise=0.3 * MEGABYTE, seed=seed))
    calm, leak = judge(curve, LEAST), judge(leaking(curve, MEGABYTE), LEAST)

    assert calm is not None
    assert calm.rises is False
    assert leak is not None
    assert leak.rises is True
    assert leak.low < MEGABYTE < leak.high


@pytest.mark.parametrize("process", sorted(MEASURED))
def test_eight_hours_show_a_megabyte_an_hour_in_the_noise_of_real_processes(process: str) -> None:
    curve = steady([(at, value) for at, value in MEASURED[process]])
    for draw in range(10):
        calm = longer(curve, 8, seed=draw)
        verdicts = judge(calm, LEAST), judge(leaking(calm, MEGABYTE), LEAST)
        assert [verdict is not None and verdict.rises for verdict in verdicts] == [False, True]
    assert hours_to_see(curve, MEGABYTE) in (1 / 3, 1 / 2, 1, 2, 4, 8)


def test_a_leak_that_the_noise_hides_is_not_reported() -> None:
    curve = leaking(steady(level(8, noise=20 * MEGABYTE, seed=1)), MEGABYTE)
    verdict = judge(curve, LEAST)

    assert verdict is not None
    assert verdict.rises is False
    assert verdict.low < 0 < verdict.high, "it says how little it knows"


def test_a_short_soak_judges_no_slope() -> None:
    verdict = judge(leaking(level(0.2, noise=1000, seed=1), 100 * MEGABYTE), LEAST)

    assert verdict is None or verdict.rises is None


def test_the_length_that_shows_a_leak_grows_with_the_noise() -> None:
    quiet = [(at / 24, value) for at, value in level(8, noise=0.01 * MEGABYTE, seed=2)]
    loud = [(at / 24, value) for at, value in level(8, noise=MEGABYTE, seed=2)]
    wild = [(at / 24, value) for at, value in level(8, noise=100 * MEGABYTE, seed=2)]

    first, second = hours_to_see(quiet, MEGABYTE), hours_to_see(loud, MEGABYTE)
    assert first is not None
    assert second is not None
    assert first < second
    assert hours_to_see(wild, MEGABYTE) is None


def test_a_longer_curve_keeps_the_noise_and_loses_the_slope() -> None:
    curve = leaking(level(1, noise=MEGABYTE, seed=3), 50 * MEGABYTE)
    more = longer(curve, 8, seed=0)

    verdict = judge(more, LEAST)
    assert verdict is not None
    assert verdict.rises is False
    assert more[-1][0] == pytest.approx(7.75 * HOUR, rel=0.01)
