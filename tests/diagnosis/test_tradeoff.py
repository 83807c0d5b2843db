"""The trade-off of quality and time, and its Pareto front."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.diagnosis.charts import tradeoff_svg
from safelight.diagnosis.tradeoff import tradeoff
from safelight.records.rows import AssessedRequest
from safelight.rules.thresholds import LEAST_COUNT
from tests.diagnosis.remembering import a_request, many, noisy


def setting(steps: int, seconds: float, score: float, count: int = 40) -> list[AssessedRequest]:
    return [
        a_request(n, steps=steps, service_seconds=seconds + n % 2 / 1e3, score=score + n % 3 / 1e3)
        for n in range(count)
    ]


def test_z7_a_dominated_setting_is_not_on_the_front() -> None:
    result = tradeoff(
        [
            *setting(10, 1.0, 0.60),
            *setting(20, 2.0, 0.80),
            *setting(30, 3.0, 0.70),
            *setting(50, 5.0, 0.90),
        ]
    )
    assert [choice.setting.steps for choice in result.front] == [10, 20, 50]
    worse = next(choice for choice in result.choices if choice.setting.steps == 30)
    assert worse.surely_worse
    assert not worse.on_front
    assert worse.count == worse.quality.count == worse.seconds.count == 40


def test_settings_differ_by_steps_size_and_precision() -> None:
    requests = [
        *noisy(30, 1, mean=0.5, spread=0.1),
        *noisy(30, 2, mean=0.5, spread=0.1, steps=10),
        *noisy(30, 3, mean=0.5, spread=0.1, width=256),
        *noisy(30, 4, mean=0.5, spread=0.1, precision="int8"),
    ]
    assert {str(choice.setting) for choice in tradeoff(requests).choices} == {
        "20 steps, 512x512, float16",
        "10 steps, 512x512, float16",
        "20 steps, 256x512, float16",
        "20 steps, 512x512, int8",
    }


def test_settings_with_too_few_requests_are_left_out_and_counted() -> None:
    result = tradeoff([*setting(10, 1, 0.5), *setting(99, 0.1, 1.0, count=LEAST_COUNT - 1)])
    assert [choice.setting.steps for choice in result.choices] == [10]
    assert result.too_few == 1


def test_a_difference_within_the_intervals_is_not_surely_worse() -> None:
    alike = [
        *noisy(30, 5, mean=0.500, spread=0.2, steps=10, service_seconds=1.0),
        *noisy(30, 5, mean=0.499, spread=0.2, steps=20, service_seconds=2.0),
    ]
    slow = tradeoff(alike).choices[1]
    assert not slow.on_front
    assert not slow.surely_worse


def test_failed_and_unassessed_requests_are_left_out() -> None:
    result = tradeoff([*many(50), *many(50, score=0.9, error="timeout", status_code=504)])
    assert result.choices == ()


@pytest.mark.parametrize("by", ["score", "adherence", "structure", "rating"])
def test_quality_is_the_chosen_measure(by: str) -> None:
    requests = many(30, **{by: 1 if by == "rating" else 0.25})
    [choice] = tradeoff(requests, by).choices
    assert choice.quality.value == (1 if by == "rating" else 0.25)
    assert all(not tradeoff(requests, other).choices for other in {"score", "rating"} - {by})


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=12))
def test_every_setting_off_the_front_is_dominated_by_one_on_it(
    pairs: list[tuple[float, float]],
) -> None:
    requests = [
        a_request(n, steps=steps, service_seconds=seconds, score=score)
        for steps, (seconds, score) in enumerate(pairs, start=1)
        for n in range(LEAST_COUNT)
    ]
    result = tradeoff(requests)
    assert result.front
    for choice in result.choices:
        dominating = [
            other
            for other in result.front
            if other.quality.value >= choice.quality.value
            and other.seconds.value <= choice.seconds.value
        ]
        assert dominating, "a setting on the front dominates itself"
    for one in result.front:
        assert not any(
            other.quality.value > one.quality.value and other.seconds.value < one.seconds.value
            for other in result.choices
        )


def test_the_trade_off_is_json_and_an_svg() -> None:
    result = tradeoff([*setting(10, 1.0, 0.6), *setting(20, 2.0, 0.8), *setting(30, 3.0, 0.7)])
    data = json.loads(json.dumps(result.as_dict()))
    assert data["choices"][0]["setting"] == {
        "steps": 10,
        "width": 512,
        "height": 512,
        "precision": "float16",
    }
    chart = ElementTree.fromstring(tradeoff_svg(result))
    circles = [each for each in chart.iter() if each.tag.endswith("circle")]
    assert len(circles) == 3
    [line] = [each for each in chart.iter() if each.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    assert "enough requests" in tradeoff_svg(tradeoff([]))
