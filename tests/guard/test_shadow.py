"""The verdicts of a comparison, on pairs whose truth is known."""

import random
from math import log

import msgspec
import pytest

from benchmarks.guard.comparing import Twin, kayenta, of_shadow, pairs, verdict
from safelight.guard.pairs import Pair
from safelight.guard.shadow import ALL, OTHER, Comparison, Row

SEEDS = 20


def compared(twin: Twin, seed: int = 1, number: int = 500) -> Comparison:
    comparison = Comparison()
    for pair, again in pairs(twin, seed, number):
        comparison.add(pair)
        if again is not None:
            comparison.add_again(again)
    return comparison


def row(comparison: Comparison, measure: str, kind: str = ALL) -> Row:
    return next(
        each
        for each in comparison.rows()
        if (each.measure, each.instruction_type) == (measure, kind)
    )


@pytest.mark.parametrize("figure", of_shadow(SEEDS), ids=lambda figure: figure.name)
def test_every_figure_of_shadow_tests_is_reached(figure: object) -> None:
    assert getattr(figure, "is_met"), figure  # noqa: B009 - the class is one of benchmarks


def test_seven_of_ten_requests_at_100_times_the_latency_never_pass() -> None:
    """Kayenta passes them: its interval test looks at the lower bound (kayenta#780)."""
    assert {kayenta(seed, 10) for seed in range(20)} <= {"undecided", "worse"}
    assert {kayenta(seed, 30) for seed in range(20)} == {"worse"}


def test_no_pairs_are_no_verdict() -> None:
    assert Comparison().verdict() == "undecided"
    assert Comparison().rows() == []


def test_a_few_pairs_are_no_verdict_however_bad_they_look() -> None:
    comparison = Comparison()
    for _ in range(9):
        comparison.add(Pair("", "style", {"latency": log(50)}))
    assert comparison.verdict() == "undecided"
    assert row(comparison, "latency").low is None


def test_a_ratio_is_shown_as_a_ratio() -> None:
    shown = row(compared(Twin(slower=1.5)), "latency")
    assert shown.value == pytest.approx(1.5, rel=0.03)
    assert shown.low is not None
    assert shown.low > 1.4
    assert shown.verdict == "worse"


def test_a_loss_on_one_type_is_found_at_that_type() -> None:
    comparison = compared(Twin(score=0.15, kind="style"))
    assert row(comparison, "score", "style").verdict == "worse"
    assert row(comparison, "score", "make_him_old").verdict == "undecided"
    assert comparison.verdict() == "worse"


def test_a_gain_with_a_loss_elsewhere_is_worse_and_not_better() -> None:
    assert compared(Twin(slower=0.5, score=0.1)).verdict() == "worse"


def test_a_gain_is_not_better_while_the_other_measures_are_unknown() -> None:
    assert verdict(Twin(slower=0.3), 1, 30)[0] == "undecided"
    assert verdict(Twin(slower=0.3), 1, 500)[0] == "better"


def test_what_a_differs_from_itself_is_no_finding() -> None:
    """Without the third arm, this bias of the copies would be a loss of B."""
    chance, comparison = random.Random(2), Comparison()
    for _ in range(300):
        comparison.add(Pair("", "style", {"score": chance.gauss(-0.05, 0.02)}))
    assert row(comparison, "score").verdict == "undecided"  # the floor is unknown yet
    for _ in range(150):
        comparison.add_again(Pair("", "style", {"score": chance.gauss(-0.05, 0.02)}))
    assert row(comparison, "score").verdict == "undecided"
    floor = row(comparison, "score").floor
    assert floor is not None
    assert floor >= 0.05


def test_other_images_are_shown_and_do_not_decide() -> None:
    comparison = compared(Twin())
    assert row(comparison, "image_difference").verdict == "different"
    assert comparison.verdict() == "undecided"


def test_labels_that_differ_more_than_those_of_a_are_worse() -> None:
    comparison = Comparison()
    for number in range(200):
        comparison.add(Pair("", "none", {"label_difference": float(number % 5 == 0)}))
        comparison.add_again(Pair("", "none", {"label_difference": 0.0}))
    assert row(comparison, "label_difference").verdict == "worse"
    assert comparison.verdict() == "worse"


def test_many_types_share_one_row() -> None:
    comparison = Comparison()
    for number in range(1000):
        comparison.add(Pair("", f"type-{number}", {"score": 0.0}))
    kinds = {each.instruction_type for each in comparison.rows()}
    assert len(kinds) <= 12
    assert {ALL, OTHER} <= kinds


def test_a_comparison_survives_a_restart() -> None:
    comparison = compared(Twin(slower=1.05))
    again = msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison)
    assert again.rows() == comparison.rows()
