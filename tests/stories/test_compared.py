"""The story of a second model, with a real service; only a few pairs."""

from collections.abc import Iterator, Mapping

import pytest

from safelight.cli.shadow import read, show
from safelight.errors import BadSetting, ServiceFailed
from safelight.stories.compared import compare
from safelight.stories.scenarios import portrait
from tests.cli.test_shadow import run

SHADOW = {
    "SAFELIGHT_SHADOW": "demo-edit",
    "SAFELIGHT_SHADOW_STEPS": "1",
    "SAFELIGHT_SHADOW_RATIO": "1",
    "SAFELIGHT_SHADOW_SECONDS_PER_HOUR": "3600",
}


def edits() -> Iterator[tuple[Mapping[str, str], bytes]]:
    while True:
        yield {"instruction": "make him old", "steps": "2", "seed": "1"}, portrait(95_000_000)


def test_each_edit_of_the_story_becomes_a_pair() -> None:
    lines: list[str] = []
    state = read(compare(SHADOW, edits(), lines.append, 3))
    assert state.pairs == 3
    assert state.second == "demo-edit, 1 steps"
    by_name = {row.measure: row for row in state.rows if row.instruction_type == "all"}
    assert by_name["structure"].value < -0.05
    assert by_name["adherence"].n == 3


def test_a_second_model_that_does_not_load_ends_the_story_with_its_reason() -> None:
    missing = {**SHADOW, "SAFELIGHT_SHADOW": "demo-recognize"}
    with pytest.raises(ServiceFailed, match="same family"):
        compare(missing, edits(), print, 1)


def test_the_story_has_no_page_to_write() -> None:
    result = run("demo", "story", "shadow-worse", "--html", "page.html")
    assert result.returncode == BadSetting.exit_code
    assert "Leave out --html" in result.stderr


def test_a_comparison_is_printed_with_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from safelight.cli.options import console

    row = {
        "measure": "latency",
        "instruction_type": "all",
        "n": 250,
        "value": 1.05,
        "low": 1.02,
        "high": 1.08,
        "floor": 1.0,
        "verdict": "worse",
    }
    score = {**row, "measure": "score", "value": -0.1, "low": -0.12, "high": -0.08, "floor": 0.004}
    typed = {**score, "instruction_type": "style"}
    quiet = {**typed, "verdict": "undecided", "low": None, "floor": None}
    state = read(
        {
            "first": "a",
            "second": "b",
            "state": "ready",
            "problem": "",
            "note": "",
            "verdict": "worse",
            "pairs": 500,
            "limit": 500,
            "ended": "It is decided: the second model is worse.",
            "copies": {"compared": 500, "dropped": 3},
            "budget_seconds": 1.0,
            "rows": [row, score, typed, quiet],
        }
    )
    show(state, console())
    printed = capsys.readouterr().out
    assert "x 1.050  x 1.020 and x 1.080" in printed
    assert "± 0.4" in printed
    assert printed.count("style") == 1  # the undecided one is not shown
    show(state, console(), types=True)
    assert capsys.readouterr().out.count("style") == 2
