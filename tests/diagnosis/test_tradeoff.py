"""What speed costs in quality: the front holds the settings worth choosing, and no other."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.diagnosis.charts import tradeoff_svg
from safelight.diagnosis.estimates import LEAST_COUNT
from safelight.diagnosis.tradeoff import tradeoff
from safelight.records.rows import Remembered
from tests.diagnosis.remembering import a_request, many, noisy


def setting(steps: int, seconds: float, score: float, count: int = 40) -> list[Remembered]:
    return [
        a_request(n, steps=steps, service_seconds=seconds + n % 2 / 1e3, score=score + n % 3 / 1e3)
        for n in range(count)
    ]


def test_z7_a_dominated_setting_is_not_on_the_front() -> None:
    found = tradeoff(
        [
            *setting(10, 1.0, 0.60),
            *setting(20, 2.0, 0.80),
            *setting(30, 3.0, 0.70),
            *setting(50, 5.0, 0.90),
        ]
    )
    assert [choice.setting.steps for choice in found.front] == [10, 20, 50]
    worse = next(choice for choice in found.choices if choice.setting.steps == 30)
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


def test_what_was_used_too_little_is_left_out_and_counted() -> None:
    found = tradeoff([*setting(10, 1, 0.5), *setting(99, 0.1, 1.0, count=LEAST_COUNT - 1)])
    assert [choice.setting.steps for choice in found.choices] == [10]
    assert found.too_few == 1


def test_a_difference_within_the_noise_is_not_called_sure() -> None:
    alike = [
        *noisy(30, 5, mean=0.500, spread=0.2, steps=10, service_seconds=1.0),
        *noisy(30, 5, mean=0.499, spread=0.2, steps=20, service_seconds=2.0),
    ]
    slow = tradeoff(alike).choices[1]
    assert not slow.on_front
    assert not slow.surely_worse


def test_failed_and_unassessed_requests_say_nothing_of_quality() -> None:
    found = tradeoff([*many(50), *many(50, score=0.9, error="timeout", status_code=504)])
    assert found.choices == ()


@pytest.mark.parametrize("by", ["score", "adherence", "structure", "rating"])
def test_quality_is_what_was_asked_for(by: str) -> None:
    requests = many(30, **{by: 1 if by == "rating" else 0.25})
    [choice] = tradeoff(requests, by).choices
    assert choice.quality.value == (1 if by == "rating" else 0.25)
    assert all(not tradeoff(requests, other).choices for other in {"score", "rating"} - {by})


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=12))
def test_whatever_is_not_on_the_front_is_beaten_by_one_that_is(
    pairs: list[tuple[float, float]],
) -> None:
    requests = [
        a_request(n, steps=steps, service_seconds=seconds, score=score)
        for steps, (seconds, score) in enumerate(pairs, start=1)
        for n in range(LEAST_COUNT)
    ]
    found = tradeoff(requests)
    assert found.front
    for choice in found.choices:
        beaten = [
            other
            for other in found.front
            if other.quality.value >= choice.quality.value
            and other.seconds.value <= choice.seconds.value
        ]
        assert beaten, "itself at least"
    for one in found.front:
        assert not any(
            other.quality.value > one.quality.value and other.seconds.value < one.seconds.value
            for other in found.choices
        )


def test_it_is_json_and_a_picture() -> None:
    found = tradeoff([*setting(10, 1.0, 0.6), *setting(20, 2.0, 0.8), *setting(30, 3.0, 0.7)])
    told = json.loads(json.dumps(found.as_dict()))
    assert told["choices"][0]["setting"] == {
        "steps": 10,
        "width": 512,
        "height": 512,
        "precision": "float16",
    }
    drawn = ElementTree.fromstring(tradeoff_svg(found))
    circles = [each for each in drawn.iter() if each.tag.endswith("circle")]
    assert len(circles) == 3
    [line] = [each for each in drawn.iter() if each.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    assert "often enough" in tradeoff_svg(tradeoff([]))
