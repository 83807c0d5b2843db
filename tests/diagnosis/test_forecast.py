"""When something will be used up: near the truth where it rises, silent where it does not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from safelight.cli.forecast import show
from safelight.cli.options import console
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans, key
from safelight.diagnosis.forecast import Forecast, budgets, forecasts, tried
from safelight.diagnosis.prometheus import Series
from safelight.diagnosis.queries import Asking
from safelight.metrics.catalog import GPU_MEMORY_TOTAL, QUEUED_WORK, REQUEST_TIMEOUT, VRAM_USED
from safelight.rules.objectives import DAYS, OBJECTIVES, burn_name, missed_name
from safelight.stories.history import Samples
from tests.diagnosis.past import prometheus
from tests.truth.scene import NOW

LEVEL, TOTAL, LEAK = 4e9, 16e9, 1.5e9  # bytes; bytes an hour
NOISE = 0.01 * LEVEL
WICKED = 'a "job" {of} ours'
Curve = Sequence[tuple[float, float]]


def curve(
    level: Callable[[float], float],
    *,
    minutes: int = 240,
    seed: int = 1,
    memory: float = 0.0,
    noise: float = NOISE,
) -> Curve:
    """Return a level minute by minute, with normal noise that remembers its last value."""
    chance, off, points = Random(seed), 0.0, []
    for minute in range(minutes + 1):
        off = memory * off + chance.gauss(0, noise * (1 - memory * memory) ** 0.5)
        points.append((60.0 * minute, level(minute) + off))
    return points


def leak(minute: float) -> float:
    return LEVEL + LEAK * minute / 60


def evidence(points: Curve) -> Evidence:
    own = {"instance": "a:8000"}
    used = Series({**own, "device": "cuda:0"}, tuple(points))
    now = Reading({key(GPU_MEMORY_TOTAL): [({**own, "gpu": "0"}, TOTAL)]})
    service = Service("instructpix2pix", "a")
    return Evidence(service, points[-1][0], Spans(), now, curves={key(VRAM_USED, "min"): [used]})


def told(points: Curve) -> Forecast:
    [found] = forecasts(evidence(points))
    return found


@pytest.mark.parametrize(("memory", "noise"), [(0.0, NOISE), (0.5, NOISE / 2)])
def test_from_half_an_hour_the_end_of_a_leak_is_told_within_a_tenth(
    memory: float, noise: float
) -> None:
    true = (TOTAL - leak(30)) / LEAK * 3600
    ends = [
        told(curve(leak, minutes=30, seed=seed, memory=memory, noise=noise)).ends
        for seed in range(100)
    ]
    near = [each for each in ends if each and abs(each[0] / true - 1) <= 0.1]
    held = [each for each in ends if each and each[1] <= true <= each[2]]

    assert len(near) >= 97
    assert len(held) >= 85


@pytest.mark.parametrize("memory", [0.0, 0.5], ids=["white", "AR(1) of 0.5"])
@pytest.mark.parametrize("minutes", [30, 240])
def test_nothing_is_told_of_a_flat_level(memory: float, minutes: int) -> None:
    silent = [
        told(curve(lambda _: LEVEL, minutes=minutes, seed=seed, memory=memory)).ends is None
        for seed in range(100)
    ]

    assert sum(silent) >= 99


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
def test_nothing_is_told_of_what_will_not_be_used_up(level: Callable[[float], float]) -> None:
    assert [told(curve(level, seed=seed)).ends for seed in range(20)] == [None] * 20


def test_a_staircase_goes_on() -> None:
    found = told(curve(lambda m: LEVEL + LEAK / 4 * (m // 15)))

    assert found.ends is not None
    assert found.ends[0] == pytest.approx((TOTAL - LEVEL - 4 * LEAK) / LEAK * 3600, rel=0.1)


def test_what_lies_further_ahead_than_three_months_is_not_told() -> None:
    assert told(curve(lambda m: LEVEL + 1e4 * m, noise=1.0)).ends is None


def test_how_earlier_forecasts_did_is_told() -> None:
    found = told(curve(leak))

    assert found.trial is not None
    assert found.trial.number >= 10
    assert found.trial.error < 0.05
    assert found.trial.covered >= 0.8


def test_the_error_of_forecasts_that_went_wrong_is_told() -> None:
    bent = tried(curve(lambda m: LEVEL + LEAK * min(m, 130) / 60, noise=1e6))
    straight = tried(curve(leak, noise=1e6))

    assert bent is not None
    assert straight is not None
    assert bent.error > 5 * straight.error


@pytest.mark.parametrize("level", [TOTAL, 1.5 * TOTAL])
def test_what_is_at_its_limit_or_over_it_is_used_up_already(level: float) -> None:
    found = told(curve(lambda _: level, noise=0.0))

    assert (found.used_up, found.ends, found.trial) == (True, (0.0, 0.0, 0.0), None)
    assert not told(curve(leak)).used_up


def test_a_level_without_a_limit_has_no_forecast() -> None:
    whole = evidence(curve(leak))
    bare = Evidence(whole.service, whole.at, whole.spans, Reading({}), curves=whole.curves)

    assert forecasts(bare) == []


@pytest.mark.parametrize(("told", "limit", "assumed"), [(30.0, 30.0, False), (None, 120.0, True)])
def test_a_queue_is_full_at_the_timeout_of_its_service_or_at_the_default_which_is_told(
    told: float | None, limit: float, *, assumed: bool
) -> None:
    own = {"instance": "a:8000"}
    waiting = Series(own, tuple(curve(lambda m: m / 3, minutes=60, noise=0.01)))
    others = ({"instance": "b:8000"}, 300.0)
    rows = [others, *([(own, told)] if told else [])]
    now = Reading({key(REQUEST_TIMEOUT, "last"): rows})
    curves = {key(QUEUED_WORK, "min"): [waiting]}
    service = Service("instructpix2pix", "a")
    [found] = forecasts(Evidence(service, waiting.points[-1][0], Spans(), now, curves=curves))

    assert (found.what, found.limit, found.assumed) == ("queue", limit, assumed)
    assert found.ends is not None
    assert found.ends[0] == pytest.approx((limit - 20) * 180, rel=0.1)


def burning(spent: float, burn: float, missed: float) -> Samples:
    """Return what the recording rules left: how much is spent, its rate, and missed a second."""
    queries = Asking("instructpix2pix", WICKED).queries
    levels = {
        burn_name("instructpix2pix", f"{DAYS}d"): spent,
        burn_name("instructpix2pix", "6h"): burn,
        missed_name(queries): missed,
    }
    inside = f'job="{WICKED}",objective="{OBJECTIVES[0].name}"'.replace(
        WICKED, WICKED.replace('"', r"\"")
    )
    texts: Samples = {}
    for at in range(NOW - 21_600, NOW + 1, 60):
        for name, value in levels.items():
            lines = texts.setdefault(at // 7200, {}).setdefault(name, ("gauge", []))[1]
            lines.append(f"{name}{{{inside}}} {value} {at}\n")
    return texts


def test_a_budget_that_is_overspent_is_used_up_and_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service("instructpix2pix", WICKED)
    with prometheus(tmp_path, burning(20.0, 2.0, 0.001)) as client:
        found = budgets(client, Evidence(service, NOW, Spans(), Reading({})))
    show("fine", found, console())

    assert [each.used_up for each in found] == [True]
    assert "2000 %  100 %  used up already" in capsys.readouterr().out


@pytest.mark.parametrize(("missed", "expected"), [(0.001, 0.5 * DAYS * 86_400 / 2), (0.0001, None)])
def test_a_budget_ends_as_it_burned_in_six_hours_unless_hardly_anything_was_missed(
    tmp_path: Path, missed: float, expected: float | None
) -> None:
    service = Service("instructpix2pix", WICKED)
    with prometheus(tmp_path, burning(0.5, 2.0, missed)) as client:
        [found] = budgets(client, Evidence(service, NOW, Spans(), Reading({})))

    if expected is None:
        assert found.ends is None
        return
    assert found.ends is not None
    assert found.ends[0] == pytest.approx(expected)
    assert found.ends[1] < expected < found.ends[2]
