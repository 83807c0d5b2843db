"""Trends of curves: slope, significance and sudden falls, compared with SciPy."""

from random import Random

import pytest
from scipy.stats import kendalltau, theilslopes  # type: ignore[import-untyped]

from safelight.diagnosis.slope import TREND_SIGMAS, Point, latest, since_last_fall, trend

MINUTES = 240
BLOCKS = 40  # curves of at most this many points are not summarized by medians


def flat(seed: int, memory: float) -> list[Point]:
    """Return four hours of noise around a level. `memory` is the AR(1) coefficient."""
    random, noise, points = Random(seed), 0.0, []
    for minute in range(MINUTES):
        noise = memory * noise + random.gauss(0, 20e6)
        points.append((60.0 * minute, 4e9 + noise))
    return points


def short(seed: int, rise: float, step: float = 0.0) -> list[Point]:
    """Return a short rising curve with white noise, rounded to multiples of `step`."""
    random, points = Random(seed), []
    for minute in range(BLOCKS):
        value = rise * minute + random.gauss(0, 5.0)
        points.append((60.0 * minute, round(value / step) * step if step else value))
    return points


@pytest.mark.parametrize("seed", range(20))
def test_the_slope_and_its_level_agree_with_theil_and_sen_in_scipy(seed: int) -> None:
    points = short(seed, 0.3)
    line = trend(points)
    times, values = zip(*points, strict=True)
    expected = theilslopes(values, times, method="joint")

    assert line is not None
    assert line.slope == pytest.approx(expected.slope)
    assert line.level == pytest.approx(expected.intercept + expected.slope * times[-1])


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_agrees_with_scipy_for_noise_without_autocorrelation(seed: int) -> None:
    random = Random(seed)
    # Noise of alternating sign has no positive autocorrelation, so the variance is not widened.
    points = [(60.0 * m, 0.3 * m + (-1) ** m * random.uniform(1, 5)) for m in range(BLOCKS)]
    line = trend(points)
    times, values = zip(*points, strict=True)
    expected = theilslopes(values, times, alpha=0.95)

    assert line is not None
    assert (line.low, line.high) == pytest.approx((expected.low_slope, expected.high_slope))


def test_autocorrelated_noise_widens_the_interval() -> None:
    line = trend(flat(1, 0.9)[:BLOCKS])
    times, values = zip(*flat(1, 0.9)[:BLOCKS], strict=True)
    expected = theilslopes(values, times, alpha=0.95)

    assert line is not None
    assert line.high - line.low > 1.5 * (expected.high_slope - expected.low_slope)


@pytest.mark.parametrize("step", [0.0, 10.0], ids=["without ties", "with ties"])
@pytest.mark.parametrize("rise", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_a_trend_that_kendalls_tau_rejects_is_not_significant(
    seed: int, rise: float, step: float
) -> None:
    points = short(seed, rise, step)
    line = trend(points)
    p_value = kendalltau(*zip(*points, strict=True), method="asymptotic").pvalue

    assert line is not None
    if p_value > 4.65e-4 * 1.2:  # two-sided p-value of 3.5 standard deviations
        assert not line.certain
    if p_value < 1e-9:
        assert line.certain


def test_the_limit_of_significance_is_three_and_a_half_standard_deviations() -> None:
    assert TREND_SIGMAS == 3.5


@pytest.mark.parametrize("memory", [0.0, 0.5], ids=["white", "AR(1) of 0.5"])
def test_at_most_one_of_a_hundred_flat_curves_seems_to_rise(memory: float) -> None:
    lines = [latest(flat(seed, memory)) for seed in range(100)]
    rising = [line for line in lines if line is not None and line.seconds_to(16e9) is not None]

    assert len(rising) <= 1


def test_outliers_do_not_change_the_slope() -> None:
    random = Random(1)
    points = [
        (60.0 * m, 1e9 * (5 if random.random() < 0.2 else 1) + 1e6 * m) for m in range(MINUTES)
    ]
    line = trend(points)

    assert line is not None
    assert line.certain
    assert line.slope * 60 == pytest.approx(1e6, rel=0.05)


def test_a_plateau_does_not_go_on() -> None:
    line = trend([(60.0 * m, 1e9 + 1e7 * min(m, 150)) for m in range(MINUTES)])

    assert line is not None
    assert not line.goes_on
    assert line.seconds_to(16e9) is None


def test_a_recent_rise_is_found_in_the_end_of_the_curve() -> None:
    random = Random(3)
    points = [
        (60.0 * m, 4e9 + 2e7 * max(0, m - 200) + random.gauss(0, 2e7)) for m in range(MINUTES)
    ]
    line = latest(points)

    assert line is not None
    assert line.certain
    assert line.slope * 60 == pytest.approx(2e7, rel=0.35)


def test_nine_points_have_no_trend() -> None:
    assert trend([(60.0 * m, m) for m in range(9)]) is None


def test_the_curve_since_its_last_fall_comes_with_the_height_before() -> None:
    points = [(float(m), float(m % 50)) for m in range(120)]
    rest, height = since_last_fall(points)

    assert rest[0] == (100.0, 0.0)
    assert height == 49.0


def test_noise_is_no_fall() -> None:
    falls = [seed for seed in range(100) if since_last_fall(flat(seed, 0.0)[:134])[1] > 0]

    assert len(falls) <= 2


def test_a_fall_at_the_last_point_is_found() -> None:
    points = [(float(m), 4e9 + 1e7 * m) for m in range(60)]

    assert since_last_fall([*points, (60.0, 4e9)]) == ([(60.0, 4e9)], points[-1][1])
