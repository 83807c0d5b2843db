"""The simulated service: its series match its conditions."""

from dataclasses import replace

import pytest

from safelight.stories.conditions import Conditions
from safelight.stories.simulation import Instance, Sample

TARGET = 'job="a",instance="b:1"'


def last_scrape(conditions: Conditions, steps: int = 40) -> list[Sample]:
    instance = Instance("instructpix2pix", TARGET, 7)
    return [instance.step(15.0 * n, 15.0, conditions) for n in range(1, steps + 1)][-1]


def total(samples: list[Sample], name: str, *where: str) -> float:
    return sum(
        value
        for _, key, value in samples
        if key.startswith(f"{name}{{") and all(label in key for label in where)
    )


def mean(samples: list[Sample], name: str, *where: str) -> float:
    return total(samples, f"{name}_sum", *where) / total(samples, f"{name}_count", *where)


def test_the_number_of_requests_matches_the_rate() -> None:
    requests = total(last_scrape(Conditions(rate=2.0)), "instructpix2pix_request_total")
    assert requests == pytest.approx(2.0 * 600, rel=0.1)


def test_a_slow_stage_is_slow_in_the_histogram() -> None:
    slow = replace(Conditions(), stages={**Conditions().stages, "decode": 0.8})
    name = "instructpix2pix_request_stage_duration_seconds"
    assert mean(last_scrape(slow), name, 'stage="decode"') == pytest.approx(0.8, rel=0.1)


def test_requests_above_the_capacity_wait_and_are_then_refused() -> None:
    over = last_scrape(Conditions(rate=8.0, queue_limit=20))
    assert total(over, "instructpix2pix_rejected_total", 'reason="queue_full"') > 100
    assert mean(over, "instructpix2pix_request_queued_duration_seconds") > 2
    assert total(over, "instructpix2pix_device_seconds_total") == pytest.approx(600, rel=0.02)


def test_refused_requests_make_no_images() -> None:
    over = last_scrape(Conditions(rate=8.0, queue_limit=20))
    refused = total(over, "instructpix2pix_rejected_total")
    made = total(over, "instructpix2pix_request_images_total")
    assert refused + made == total(over, "instructpix2pix_request_total")


def test_a_start_resets_the_counters() -> None:
    instance = Instance("instructpix2pix", TARGET, 7)
    before = [instance.step(15.0 * n, 15.0, Conditions()) for n in range(1, 20)][-1]
    after = instance.step(300.0, 15.0, replace(Conditions(), starts=True))
    name = "instructpix2pix_request_total"
    assert total(after, name) < total(before, name) / 5
    assert total(after, "process_start_time_seconds") == 300


def test_an_instance_that_is_down_has_only_the_series_up() -> None:
    assert last_scrape(replace(Conditions(), up=False)) == [("gauge", f"up{{{TARGET}}}", 0.0)]


def test_simulations_with_the_same_seed_are_equal() -> None:
    name = "instructpix2pix_request_duration_seconds_sum"
    assert total(last_scrape(Conditions()), name) == total(last_scrape(Conditions()), name)
