"""The radar says what the records hold, no more and no less."""

import json
from xml.etree import ElementTree

import pytest

from safelight.diagnosis.charts import radar_svg
from safelight.diagnosis.estimates import LEAST_COUNT
from safelight.diagnosis.radar import AXES, Type, radar
from tests.diagnosis.remembering import a_request, many, noisy


def only(found: tuple[Type, ...]) -> Type:
    [each] = found
    return each


def test_p15_four_axes_from_0_to_10_with_what_they_rest_on() -> None:
    requests = [
        *noisy(90, 1, mean=0.7, spread=0.05, structure=0.8, adherence=0.9, service_seconds=3.0),
        *many(10, error="cuda_oom", status_code=503),
    ]
    each = only(radar(requests, target_seconds=3.0).types)

    axes = {name: found for name, found in each.axes.items() if found}
    assert tuple(axes) == AXES
    assert axes["accuracy"].value == pytest.approx(10 * 0.9 * 0.9)
    assert axes["speed"].value == pytest.approx(5.0)
    assert axes["structure"].value == pytest.approx(8.0)
    assert axes["stability"].value == pytest.approx(8.0, abs=0.7)
    assert [axes[name].count for name in AXES] == [90, 90, 90, 90]
    assert all(0 <= a.low <= a.value <= a.high <= 10 for a in axes.values())
    assert each.success is not None
    assert (each.success.value, each.success.count) == (0.9, 100)


@pytest.mark.parametrize("count", [1, 5, LEAST_COUNT - 1])
def test_there_is_never_a_score_from_five_requests(count: int) -> None:
    requests = many(count, score=0.5, structure=0.5, adherence=0.5, rating=3)
    found = radar(requests)
    each = only(found.types)
    assert set(each.axes.values()) == {None}
    assert (each.success, each.rating, found.agreement, found.leaders) == (None, None, None, ())
    assert each.requests == count
    assert "too few" not in radar_svg(found)
    assert "often enough" in radar_svg(found)


def test_an_axis_rests_on_those_that_were_assessed_not_on_all() -> None:
    each = only(radar([*many(100), *many(5, structure=0.9)]).types)
    assert each.axes["structure"] is None
    assert each.axes["accuracy"] is not None
    assert each.axes["accuracy"].count == 105


def test_an_output_found_broken_later_is_an_error_of_its_type() -> None:
    found = radar([*many(50), *many(50, found_error="structure_corruption")])
    success = only(found.types).success
    assert success is not None
    assert success.value == 0.5


@pytest.mark.parametrize(
    "reason", ["not_an_image", "rate_limited", "cancelled", "overloaded", "not_ready", "stopping"]
)
def test_what_the_caller_did_wrong_is_not_the_instructions_fault(reason: str) -> None:
    found = radar([*many(40), *many(40, error=reason, status_code=422)])
    success = only(found.types).success
    assert success is not None
    assert (success.value, success.count) == (1.0, 40)


@pytest.mark.parametrize("reason", ["cuda_oom", "invalid_output", "model_error", "timeout"])
def test_what_the_model_could_not_do_is(reason: str) -> None:
    success = only(radar([*many(40), *many(40, error=reason, status_code=500)]).types).success
    assert success is not None
    assert success.value == 0.5


def test_faster_is_faster_and_steadier_is_steadier() -> None:
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


def test_the_best_are_those_that_surely_succeed() -> None:
    requests = [
        *many(20, instruction_type="lucky"),
        *many(995, instruction_type="proven"),
        *many(5, instruction_type="proven", error="model_error", status_code=500),
        *many(50, instruction_type="bad", error="model_error", status_code=500),
        *many(50, instruction_type="bad"),
        *many(3, instruction_type="rare"),
    ]
    assert [each.name for each in radar(requests).leaders] == ["proven", "lucky", "bad"]


def test_ratings_and_scores_are_compared_where_both_are_known() -> None:
    requests = [
        *(a_request(n, rating=1 + n % 5, score=(n % 5) / 5) for n in range(40)),
        *many(100, score=0.5),
        *many(100, rating=3),
    ]
    found = radar(requests)
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(1.0)
    assert (found.agreement.count, found.rated) == (40, 40)


def test_a_recogniser_has_no_instructions_to_be_judged() -> None:
    assert radar(many(100, instruction_type="none")).types == ()


def test_it_is_json_and_a_picture_without_any_text_of_users() -> None:
    requests = [
        *noisy(40, 3, mean=0.7, spread=0.1, structure=0.8),
        *many(30, instruction_type="<script>"),
    ]
    found = radar(requests)
    told = json.loads(json.dumps(found.as_dict()))
    assert told["types"][0]["axes"]["structure"]["count"] == 40
    drawn = ElementTree.fromstring(radar_svg(found))
    polygons = [each for each in drawn.iter() if each.tag.endswith("polygon")]
    assert len(polygons) == 2 * (4 + 3)
    assert "<script>" not in radar_svg(found)
