"""A line through a curve: its slope, and whether there is one at all."""

from random import Random

import pytest

from safelight.diagnosis.slope import Point, joined, latest, since_last_fall, trend

MINUTES = 240
FALSE_ALARMS = 1  # of a hundred seeds


def flat(seed: int, memory: float) -> list[Point]:
    """Return four hours of noise about a level; `memory` is the AR(1) coefficient."""
    chance, noise, points = Random(seed), 0.0, []
    for minute in range(MINUTES):
        noise = memory * noise + chance.gauss(0, 20e6)
        points.append((60.0 * minute, 4e9 + noise))
    return points


@pytest.mark.parametrize("memory", [0.0, 0.5], ids=["white", "AR(1) of 0.5"])
def test_flat_noise_is_taken_for_a_rise_by_one_seed_of_a_hundred_at_most(memory: float) -> None:
    lines = [latest(flat(seed, memory)) for seed in range(100)]
    told = [line for line in lines if line is not None and line.seconds_to(16e9) is not None]

    assert len(told) <= FALSE_ALARMS


def test_outliers_do_not_bend_the_line() -> None:
    chance = Random(1)
    points = [
        (60.0 * m, 1e9 * (5 if chance.random() < 0.2 else 1) + 1e6 * m) for m in range(MINUTES)
    ]
    found = trend(points)

    assert found is not None
    assert found.certain
    assert found.slope * 60 == pytest.approx(1e6, rel=0.05)


def test_a_plateau_does_not_go_on() -> None:
    found = trend([(60.0 * m, 1e9 + 1e7 * min(m, 150)) for m in range(MINUTES)])

    assert found is not None
    assert not found.goes_on
    assert found.seconds_to(16e9) is None


def test_a_rise_that_began_lately_is_seen_by_the_curves_end() -> None:
    chance = Random(3)
    points = [
        (60.0 * m, 4e9 + 2e7 * max(0, m - 200) + chance.gauss(0, 2e7)) for m in range(MINUTES)
    ]
    found = latest(points)

    assert found is not None
    assert found.certain
    assert found.slope * 60 == pytest.approx(2e7, rel=0.35)


def test_too_few_points_tell_nothing() -> None:
    assert trend([(60.0 * m, m) for m in range(9)]) is None


def test_what_lies_before_a_fall_is_left_out_and_its_height_kept() -> None:
    points = [(float(m), float(m % 50)) for m in range(120)]
    rest, height = since_last_fall(points)

    assert rest[0] == (100.0, 0.0)
    assert height == 49.0


def test_noise_is_no_fall() -> None:
    fell = [seed for seed in range(100) if since_last_fall(flat(seed, 0.0)[:134])[1] > 0]

    assert len(fell) <= 2


def test_what_was_given_back_just_now_is_a_fall() -> None:
    points = [(float(m), 4e9 + 1e7 * m) for m in range(60)]

    assert since_last_fall([*points, (60.0, 4e9)]) == ([(60.0, 4e9)], points[-1][1])


def test_curves_are_summed_where_all_have_a_point() -> None:
    assert joined([[(0.0, 1.0), (1.0, 2.0)], [(1.0, 3.0)]]) == [(1.0, 5.0)]
