"""Forecasts: accurate for steady growth, none for everything else."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from safelight.cli.forecast import show
from safelight.cli.options import console
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.forecast import Forecast, back_test, budgets, forecasts
from safelight.diagnosis.prometheus import Series
from safelight.diagnosis.queries import FactQueries, Statistic, key
from safelight.metrics.catalog import GPU_MEMORY_TOTAL, QUEUED_WORK, REQUEST_TIMEOUT, VRAM_USED
from safelight.rules.objectives import DAYS, OBJECTIVES, burn_name, missed_name
from safelight.rules.thresholds import Thresholds
from safelight.stories.history import Samples
from tests.diagnosis.past import prometheus
from tests.truth.scene import NOW

LEVEL, TOTAL, LEAK = 4e9, 16e9, 1.5e9  # bytes; bytes per hour
NOISE = 0.01 * LEVEL
ESCAPED_JOB = 'a "job" {of} ours'
Curve = Sequence[tuple[float, float]]


def curve(
    level: Callable[[float], float],
    *,
    minutes: int = 240,
    seed: int = 1,
    memory: float = 0.0,
    noise: float = NOISE,
) -> Curve:
    """Return a level minute by minute, with AR(1) noise of coefficient `memory`."""
    random, error, points = Random(seed), 0.0, []
    for minute in range(minutes + 1):
        error = memory * error + random.gauss(0, noise * (1 - memory * memory) ** 0.5)
        points.append((60.0 * minute, level(minute) + error))
    return points


def leak(minute: float) -> float:
    return LEVEL + LEAK * minute / 60


def evidence(points: Curve) -> Evidence:
    own = {"instance": "a:8000"}
    used = Series({**own, "device": "cuda:0"}, tuple(points))
    now = Reading({key(GPU_MEMORY_TOTAL): [({**own, "gpu": "0"}, TOTAL)]})
    service = Service("instructpix2pix", "a")
    return Evidence(
        service, points[-1][0], Spans(), now, curves={key(VRAM_USED, Statistic.MIN): [used]}
    )


def forecast(points: Curve) -> Forecast:
    [result] = forecasts(evidence(points))
    return result


@pytest.mark.parametrize(("memory", "noise"), [(0.0, NOISE), (0.5, NOISE / 2)])
def test_the_end_of_a_leak_is_forecast_within_ten_percent_from_half_an_hour(
    memory: float, noise: float
) -> None:
    expected_end = (TOTAL - leak(30)) / LEAK * 3600
    ends = [
        forecast(curve(leak, minutes=30, seed=seed, memory=memory, noise=noise)).ends
        for seed in range(100)
    ]
    near = [each for each in ends if each and abs(each[0] / expected_end - 1) <= 0.1]
    covered = [each for each in ends if each and each[1] <= expected_end <= each[2]]

    assert len(near) >= 97
    assert len(covered) >= 85


@pytest.mark.parametrize("memory", [0.0, 0.5], ids=["white", "AR(1) of 0.5"])
@pytest.mark.parametrize("minutes", [30, 240])
def test_a_flat_level_has_no_forecast(memory: float, minutes: int) -> None:
    without = [
        forecast(curve(lambda _: LEVEL, minutes=minutes, seed=seed, memory=memory)).ends is None
        for seed in range(100)
    ]

    assert sum(without) >= 99


@pytest.mark.parametrize(
    "level",
    [
        lambda m: LEVEL + 2e9 * min(1.0, m / 150),
        lambda m: LEVEL + 2e9 * (m % 60) / 60,
        lambda m: LEVEL - 5e6 * m,
        lambda m: LEVEL + 2e9 * (m == 100),
    ],
    ids=["a plateau", "a sawtooth", "a fall", "a spike"],
)
def test_a_level_that_does_not_grow_steadily_has_no_forecast(
    level: Callable[[float], float],
) -> None:
    assert [forecast(curve(level, seed=seed)).ends for seed in range(20)] == [None] * 20


def test_a_staircase_is_forecast_as_a_line() -> None:
    result = forecast(curve(lambda m: LEVEL + LEAK / 4 * (m // 15)))

    assert result.ends is not None
    assert result.ends[0] == pytest.approx((TOTAL - LEVEL - 4 * LEAK) / LEAK * 3600, rel=0.1)


def test_an_end_beyond_ninety_days_is_no_forecast() -> None:
    assert forecast(curve(lambda m: LEVEL + 1e4 * m, noise=1.0)).ends is None


def test_a_forecast_has_a_back_test() -> None:
    result = forecast(curve(leak))

    assert result.trial is not None
    assert result.trial.number >= 10
    assert result.trial.error < 0.05
    assert result.trial.covered >= 0.8


def test_the_back_test_shows_large_errors() -> None:
    bent = back_test(curve(lambda m: LEVEL + LEAK * min(m, 130) / 60, noise=1e6))
    straight = back_test(curve(leak, noise=1e6))

    assert bent is not None
    assert straight is not None
    assert bent.error > 5 * straight.error


@pytest.mark.parametrize("level", [TOTAL, 1.5 * TOTAL])
def test_a_level_at_its_limit_or_above_is_used_up(level: float) -> None:
    result = forecast(curve(lambda _: level, noise=0.0))

    assert (result.used_up, result.ends, result.trial) == (True, (0.0, 0.0, 0.0), None)
    assert not forecast(curve(leak)).used_up


def test_a_level_without_a_limit_has_no_forecast() -> None:
    full = evidence(curve(leak))
    bare = Evidence(full.service, full.at, full.spans, Reading({}), curves=full.curves)

    assert forecasts(bare) == []


@pytest.mark.parametrize(
    ("timeout", "limit", "assumed"), [(30.0, 30.0, False), (None, 120.0, True)]
)
def test_the_limit_of_a_queue_is_the_request_timeout_or_the_default(
    timeout: float | None, limit: float, *, assumed: bool
) -> None:
    own = {"instance": "a:8000"}
    waiting = Series(own, tuple(curve(lambda m: m / 3, minutes=60, noise=0.01)))
    others = ({"instance": "b:8000"}, 300.0)
    rows = [others, *([(own, timeout)] if timeout else [])]
    now = Reading({key(REQUEST_TIMEOUT, Statistic.LAST): rows})
    curves = {key(QUEUED_WORK, Statistic.MIN): [waiting]}
    service = Service("instructpix2pix", "a")
    [result] = forecasts(Evidence(service, waiting.points[-1][0], Spans(), now, curves=curves))

    assert (result.what, result.limit, result.assumed) == ("queue", limit, assumed)
    assert result.ends is not None
    assert result.ends[0] == pytest.approx((limit - 20) * 180, rel=0.1)


def burning(spent: float, burn: float, missed: float) -> Samples:
    """Return series of the recording rules: spent budget, burn rate, missed events."""
    queries = FactQueries("instructpix2pix", ESCAPED_JOB).queries
    levels = {
        burn_name("instructpix2pix", f"{DAYS}d"): spent,
        burn_name("instructpix2pix", "6h"): burn,
        missed_name(queries): missed,
    }
    inside = f'job="{ESCAPED_JOB}",objective="{OBJECTIVES[0].name}"'.replace(
        ESCAPED_JOB, ESCAPED_JOB.replace('"', r"\"")
    )
    samples: Samples = {}
    for at in range(NOW - 21_600, NOW + 1, 60):
        for name, value in levels.items():
            lines = samples.setdefault(at // 7200, {}).setdefault(name, ("gauge", []))[1]
            lines.append(f"{name}{{{inside}}} {value} {at}\n")
    return samples


def test_an_overspent_budget_is_shown_as_used_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service("instructpix2pix", ESCAPED_JOB)
    with prometheus(tmp_path, burning(20.0, 2.0, 0.001)) as client:
        result = budgets(client, Evidence(service, NOW, Spans(), Reading({})))
    show("fine", result, console())

    assert [each.used_up for each in result] == [True]
    assert "2000 %  100 %  already used up" in capsys.readouterr().out


AT_TWICE_THE_RATE = 0.5 * DAYS * 86_400 / 2


@pytest.mark.parametrize(
    ("missed", "least_missed", "expected"),
    [(0.001, 5, AT_TWICE_THE_RATE), (0.0001, 5, None), (0.0001, 1, AT_TWICE_THE_RATE)],
)
def test_a_budget_is_forecast_from_six_hours_if_enough_events_were_missed(
    tmp_path: Path, missed: float, least_missed: int, expected: float | None
) -> None:
    limits = Thresholds(least_missed=least_missed)
    service = Service("instructpix2pix", ESCAPED_JOB)
    with prometheus(tmp_path, burning(0.5, 2.0, missed)) as client:
        [result] = budgets(client, Evidence(service, NOW, Spans(), Reading({}), limits=limits))

    if expected is None:
        assert result.ends is None
        return
    assert result.ends is not None
    assert result.ends[0] == pytest.approx(expected)
    assert result.ends[1] < expected < result.ends[2]
