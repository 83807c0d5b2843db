"""Radar scores computed from the records."""

import json
from xml.etree import ElementTree

import pytest

from safelight.diagnosis.charts import radar_svg
from safelight.diagnosis.radar import AXES, Type, radar
from safelight.rules.thresholds import LEAST_COUNT
from tests.diagnosis.remembering import a_request, many, noisy


def only(types: tuple[Type, ...]) -> Type:
    [each] = types
    return each


def test_p15_the_radar_has_four_axes_from_0_to_10_with_their_counts() -> None:
    requests = [
        *noisy(90, 1, mean=0.7, spread=0.05, structure=0.8, adherence=0.9, service_seconds=3.0),
        *many(10, error="cuda_oom", status_code=503),
    ]
    each = only(radar(requests, target_seconds=3.0).types)

    axes = {name: scores for name, scores in each.axes.items() if scores}
    assert tuple(axes) == AXES
    assert axes["accuracy"].value == pytest.approx(10 * 0.9 * 0.9)
    assert axes["speed"].value == pytest.approx(5.0)
    assert axes["structure"].value == pytest.approx(8.0)
    assert axes["stability"].value == pytest.approx(8.0, abs=0.7)
    assert [axes[name].count for name in AXES] == [90, 90, 90, 90]
    assert all(0 <= a.low <= a.value <= a.high <= 10 for a in axes.values())
    assert each.success is not None
    assert (each.success.value, each.success.count) == (0.9, 100)


@pytest.mark.parametrize("count", [1, 2, LEAST_COUNT - 1])
def test_too_few_requests_give_no_score(count: int) -> None:
    requests = many(count, score=0.5, structure=0.5, adherence=0.5, rating=3)
    scores = radar(requests)
    each = only(scores.types)
    assert set(each.axes.values()) == {None}
    assert (each.success, each.rating, scores.agreement, scores.leaders) == (None, None, None, ())
    assert each.requests == count
    assert "too few" not in radar_svg(scores)
    assert "enough requests" in radar_svg(scores)


def test_p15_five_assessed_edits_give_a_score_with_a_wide_interval() -> None:
    few, many_more = (
        only(radar(noisy(count, 4, mean=0.7, spread=0.05, structure=0.8)).types).axes
        for count in (LEAST_COUNT, 200)
    )
    first, later = few["stability"], many_more["stability"]
    assert first is not None
    assert later is not None
    assert first.count == LEAST_COUNT == 5
    assert first.high - first.low > 2 * (later.high - later.low)
    assert few["structure"] is not None


def test_an_axis_counts_assessed_requests_only() -> None:
    each = only(radar([*many(100), *many(LEAST_COUNT - 1, structure=0.9)]).types)
    assert each.axes["structure"] is None
    assert each.axes["accuracy"] is not None
    assert each.axes["accuracy"].count == 100 + LEAST_COUNT - 1


def test_an_output_assessed_as_broken_counts_as_an_error() -> None:
    scores = radar([*many(50), *many(50, found_error="structure_corruption")])
    success = only(scores.types).success
    assert success is not None
    assert success.value == 0.5


@pytest.mark.parametrize(
    "reason", ["not_an_image", "rate_limited", "cancelled", "overloaded", "not_ready", "stopping"]
)
def test_errors_of_callers_and_refusals_do_not_count(reason: str) -> None:
    scores = radar([*many(40), *many(40, error=reason, status_code=422)])
    success = only(scores.types).success
    assert success is not None
    assert (success.value, success.count) == (1.0, 40)


@pytest.mark.parametrize("reason", ["cuda_oom", "invalid_output", "model_error", "timeout"])
def test_errors_of_the_model_count(reason: str) -> None:
    success = only(radar([*many(40), *many(40, error=reason, status_code=500)]).types).success
    assert success is not None
    assert success.value == 0.5


def test_fast_and_stable_types_score_higher() -> None:
    fast, slow = (
        only(radar(many(30, service_seconds=seconds)).types).axes["speed"] for seconds in (1, 6)
    )
    assert fast is not None
    assert slow is not None
    assert fast.value > slow.value
    steady, wild = (
        only(radar(noisy(60, 2, mean=0.5, spread=spread)).types).axes["stability"]
        for spread in (0.02, 0.2)
    )
    assert steady is not None
    assert wild is not None
    assert steady.low > wild.high


def test_types_are_ranked_by_the_lower_bound_of_their_success() -> None:
    requests = [
        *many(20, instruction_type="lucky"),
        *many(995, instruction_type="proven"),
        *many(5, instruction_type="proven", error="model_error", status_code=500),
        *many(50, instruction_type="bad", error="model_error", status_code=500),
        *many(50, instruction_type="bad"),
        *many(3, instruction_type="rare"),
    ]
    assert [each.name for each in radar(requests).leaders] == ["proven", "lucky", "bad"]


def test_agreement_uses_requests_with_a_rating_and_a_score() -> None:
    requests = [
        *(a_request(n, rating=1 + n % 5, score=(n % 5) / 5) for n in range(40)),
        *many(100, score=0.5),
        *many(100, rating=3),
    ]
    scores = radar(requests)
    assert scores.agreement is not None
    assert scores.agreement.value == pytest.approx(1.0)
    assert (scores.agreement.count, scores.rated) == (40, 40)


def test_requests_without_an_instruction_have_no_type() -> None:
    assert radar(many(100, instruction_type="none")).types == ()


def test_the_radar_is_json_and_an_svg_with_escaped_names() -> None:
    requests = [
        *noisy(40, 3, mean=0.7, spread=0.1, structure=0.8),
        *many(30, instruction_type="<script>"),
    ]
    scores = radar(requests)
    data = json.loads(json.dumps(scores.as_dict()))
    assert data["types"][0]["axes"]["structure"]["count"] == 40
    chart = ElementTree.fromstring(radar_svg(scores))
    polygons = [each for each in chart.iter() if each.tag.endswith("polygon")]
    assert len(polygons) == 2 * (4 + 3)
    assert "<script>" not in radar_svg(scores)
