from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.guard.golden import ENROL_RUNS, MARGIN, Golden, Print, Run, difference, enrol
from safelight.guard.verdicts import Deep, Health, State

LEVELS = bytes(range(0, 192, 2)) * 3


def image(digest: str, shift: int = 0, places: int = len(LEVELS)) -> Print:
    changed = bytes(min(255, level + shift) for level in LEVELS[:places])
    return Print(digest, changed + LEVELS[places:])


def test_equal_outputs_do_not_differ_and_black_differs_from_white_by_one() -> None:
    assert difference(image("a"), image("a", 9)) == 0  # the digest decides
    assert difference(Print("a", b"\0" * 30), Print("b", b"\xff" * 30)) == 1


def test_a_shift_of_one_level_everywhere_is_one_of_255() -> None:
    assert difference(image("a"), image("b", 1)) == pytest.approx(1 / 255)


def test_outputs_of_another_shape_or_kind_differ_completely() -> None:
    labels = Print("c", scores=(("cat", 0.9),))
    assert difference(Print("a", b"\0" * 3), Print("b", b"\0" * 6)) == 1
    assert difference(Print("a", b"\0" * 3), labels) == 1


def test_the_label_whose_score_changed_most_decides() -> None:
    one = Print("a", scores=(("cat", 0.9), ("dog", 0.1)))
    other = Print("b", scores=(("cat", 0.7), ("fox", 0.15)))
    assert difference(one, other) == pytest.approx(0.2)


@given(st.lists(st.binary(min_size=12, max_size=12), min_size=2, max_size=6))
def test_a_difference_is_symmetric_and_between_zero_and_one(pixels: list[bytes]) -> None:
    one, other = Print("a", pixels[0]), Print("b", pixels[-1])
    assert difference(one, other) == difference(other, one)
    assert 0 <= difference(one, other) <= 1


def test_the_limit_of_a_model_without_noise_is_one_level() -> None:
    golden = enrol([Run(image("a"), 0.2)] * ENROL_RUNS)
    assert (golden.floor, golden.limit) == (0, MARGIN)
    assert golden.drift(image("b", 2)) > 1


def test_the_most_central_run_is_the_reference_and_the_floor_is_the_largest_difference() -> None:
    runs = [Run(image(str(shift), shift), 1.0) for shift in (0, 2, 4)]
    golden = enrol(runs)
    assert golden.output == runs[1].output
    assert golden.floor == pytest.approx(4 / 255)
    assert golden.limit == pytest.approx(12 / 255)


def test_outputs_of_a_model_that_ignores_the_seed_are_not_judged() -> None:
    golden = enrol([Run(Print("a", b"\0" * 30), 1.0), Run(Print("b", b"\xff" * 30), 1.0)])
    assert golden.limit == inf
    assert golden.drift(image("c")) == 0


def test_one_slow_run_of_an_enrolment_does_not_hide_later_slow_ones() -> None:
    runs = [Run(image("a"), 0.5)] * 9 + [Run(image("a"), 9.0)]
    golden = enrol(runs)
    assert golden.slow_seconds == pytest.approx(0.75)


def test_a_run_of_a_few_milliseconds_is_not_slow_before_fifty_more() -> None:
    assert Golden(image("a"), 0.0, 0.004, 0.0).slow_seconds == pytest.approx(0.054)


def test_an_enrolment_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        enrol([])


def test_healthy_noise_of_a_day_raises_no_alarm_in_a_hundred_seeds() -> None:
    """Noise: some pixels differ by a level in half of the runs; one run in 200 takes three times
    as long."""
    alarms = 0
    for seed in range(100):
        chance = Random(seed)
        golden = enrol([_noisy(chance) for _ in range(ENROL_RUNS)])
        health = Health()
        for _ in range(24 * 60):
            run = _noisy(chance)
            wrong, slow = golden.drift(run.output) > 1, run.seconds > golden.slow_seconds
            health.ran(Deep(State.WRONG if wrong else State.SLOW if slow else State.GOOD))
            alarms += health.verdict is not State.GOOD
    assert alarms == 0


def _noisy(chance: Random) -> Run:
    """Return a run with noise in some places, whose time is log-normal with outliers."""
    places = chance.choice((0, 0, 4, 12)) + chance.randrange(3)
    seconds = 0.3 * chance.lognormvariate(0, 0.05) * (3 if chance.random() < 0.005 else 1)
    return Run(image(str(chance.random()), 1, places), seconds)
