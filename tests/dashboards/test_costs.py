"""The panels of costs, and of slow devices, give the right numbers in a real Prometheus."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.dashboards.catalog import boards
from safelight.dashboards.variables import Chosen
from safelight.diagnosis.prometheus import Prometheus
from safelight.metrics.catalog import (
    DEVICE_HELD_SECONDS,
    DEVICE_SECONDS,
    DEVICE_STEP_SECONDS,
    GOOD_OUTPUTS,
    GPU_ENERGY,
    GPU_HOUR_PRICE,
    TYPE_DEVICE_SECONDS,
)
from safelight.metrics.metric import Metric
from safelight.stories.history import write_blocks
from safelight.stories.replay import replay

NOW, STEP, NAMESPACE = 1_795_000_000, 15, "pix"
WINDOW = 300  # two devices: 600 s held, 300 s busy, of these 60 s wasted
CHOSEN = Chosen(NAMESPACE, "(edit)", "(a)", rate_interval="5m", range="5m")
STEPS_PER_SECOND = {"cuda:0": (2.0, 0.8), "cuda:1": (1.0, 0.6)}  # 0.4 and 0.6 seconds each
PER_SECOND: tuple[tuple[Metric, str, float], ...] = (
    (DEVICE_HELD_SECONDS, "", 2.0),
    (DEVICE_SECONDS, 'use="useful"', 0.8),
    (DEVICE_SECONDS, 'use="failed"', 0.2),
    (TYPE_DEVICE_SECONDS, 'instruction_type="add_hat"', 0.4),
    (TYPE_DEVICE_SECONDS, 'instruction_type="make_him_old"', 0.6),
    (GOOD_OUTPUTS, 'instruction_type="add_hat"', 0.1),
    (GOOD_OUTPUTS, 'instruction_type="make_him_old"', 0.3),
    (GPU_ENERGY, 'gpu="0"', 200.0),
)


def samples(*, price: bool = True, devices: int = 2) -> dict[str, tuple[str, list[str]]]:
    """Return half an hour of a service that began long ago."""
    times = range(NOW - 1800, NOW + 1, STEP)
    families: dict[str, tuple[str, list[str]]] = {}
    for metric, labels, rate in PER_SECOND:
        name = metric.full_name(NAMESPACE)
        inside = ",".join(filter(None, ('job="edit",instance="a"', labels)))
        lines = families.setdefault(name.removesuffix("_total"), ("counter", []))[1]
        lines += [f"{name}{{{inside}}} {1e6 + rate * (at - NOW)} {at}\n" for at in times]
    steps = DEVICE_STEP_SECONDS.full_name(NAMESPACE)
    lines = families.setdefault(steps, ("summary", []))[1]
    for device, rates in list(STEPS_PER_SECOND.items())[:devices]:
        inside = f'job="edit",instance="a",device="{device}"'
        for suffix, rate in zip(("_count", "_sum"), rates, strict=True):
            lines += [
                f"{steps}{suffix}{{{inside}}} {1e6 + rate * (at - NOW)} {at}\n" for at in times
            ]
    gauges = {"up": 1.0, "process_start_time_seconds": NOW - 36_000.0}
    if price:
        gauges[GPU_HOUR_PRICE.full_name(NAMESPACE)] = 3.6
    for name, level in gauges.items():
        lines = [f'{name}{{job="edit",instance="a"}} {level} {at}\n' for at in times]
        families[name] = ("gauge", lines)
    return families


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder: Path = tmp_path_factory.mktemp("priced")
    write_blocks([{0: samples()}], folder)
    with replay(folder) as prometheus:
        yield prometheus


def shown(past: Prometheus, title: str, label: str = "") -> dict[str, float]:
    """Return what each query of a panel shows, by its legend or by a label."""
    panel = next(panel for board in boards() for panel in board.panels if panel.title == title)
    return {
        each.labels.get(label, query.legend): each.value
        for query in panel.queries
        for each in past.instant(CHOSEN.fill(query.expr), NOW)
    }


def test_d7_the_panels_multiply_price_and_device_time(past: Prometheus) -> None:
    # 120 good images in the window: 600 s, 300 s and 60 s at 0.001 for a second
    assert shown(past, "What does a good image cost?") == pytest.approx(
        {"with idle time": 0.6 / 120, "without idle time": 0.3 / 120, "wasted": 0.06 / 120},
        rel=0.01,
    )
    assert shown(past, "Which instructions are expensive?", "instruction_type") == pytest.approx(
        {"add_hat": 0.12 / 30, "make_him_old": 0.18 / 90}, rel=0.01
    )


def test_the_money_per_hour_is_that_of_all_devices_with_their_idle_time(past: Prometheus) -> None:
    money = shown(past, "Where does the money go?", "use")
    assert money == pytest.approx(
        {"useful": 3.6 * 0.8, "failed": 3.6 * 0.2, "idle": 3.6 * 1.0}, rel=0.01
    )
    assert sum(money.values()) == pytest.approx(2 * 3.6, rel=0.01)


def test_the_energy_of_an_image_is_that_of_the_window(past: Prometheus) -> None:
    energy = shown(past, "How much energy does a good image take?")
    assert energy == pytest.approx({"per image": 200 * WINDOW / 120}, rel=0.01)


def test_a_slow_device_is_compared_with_the_fastest(past: Prometheus) -> None:
    skew = shown(past, "Is one device slower than the others?")
    assert skew == pytest.approx({"slowest / fastest": 1.5}, rel=0.01)


def test_without_a_price_or_a_second_device_the_value_is_unknown(tmp_path: Path) -> None:
    write_blocks([{0: samples(price=False, devices=1)}], tmp_path)
    with replay(tmp_path) as prometheus:
        assert shown(prometheus, "Is one device slower than the others?") == {}
        assert shown(prometheus, "What does a good image cost?") == {}
        assert shown(prometheus, "Which instructions are expensive?") == {}
        assert shown(prometheus, "Where does the money go?") == {}
