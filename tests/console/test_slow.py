"""Why a request took its time: the marks and the sentences never contradict each other."""

import shutil
import subprocess

import orjson
import pytest

from safelight.console.app import STATIC

SAY = """
globalThis.document = { documentElement: { lang: "en" } };
const { slowStages } = await import("FOLDER/slow.js");
const { verdict } = await import("FOLDER/try/verdict.js");
const { own, usual, found } = CASE;
const seconds = Object.values(own).reduce((total, each) => total + each, 0);
found.record.seconds = seconds;
console.log(JSON.stringify([slowStages(own, usual), verdict({ seconds }, own, usual, found)]));
"""


def said(
    own: dict[str, float], usual: dict[str, float], steps: int = 0, usual_step: float = 0.0
) -> tuple[list[str], str]:
    """Return the stages that are marked, and the sentences."""
    program = shutil.which("node")
    assert program, "scripts/setup installs node"
    found = {"record": {"steps": steps}, "usual_step": usual_step or None}
    case = orjson.dumps({"own": own, "usual": usual, "found": found}).decode()
    text = SAY.replace("FOLDER", STATIC.as_uri()).replace("CASE", case)
    ended = subprocess.run(
        [program, "--input-type=module", "-e", text], check=True, capture_output=True, timeout=60
    )
    slow, sentences = orjson.loads(ended.stdout)
    return slow, sentences


USUAL = {"queue": 0.0, "receive": 0.00001, "check": 0.01, "denoise": 1.0}


def test_microseconds_are_never_slow() -> None:
    slow, text = said({"queue": 0.00009, "receive": 0.0009, "check": 0.012, "denoise": 1.0}, USUAL)
    assert slow == []
    assert "That is about usual: 1.01 s." in text
    assert "Longer" not in text


@pytest.mark.parametrize(
    ("queue", "denoise", "expected"),
    [
        (0.049, 0.5, []),  # more than a twentieth, but nobody notices 49 ms
        (0.06, 2.0, ["denoise"]),  # 60 ms, but of 2 s
        (0.2, 1.0, ["queue"]),
        (3.0, 2.5, ["queue", "denoise"]),  # what cost most comes first
    ],
)
def test_a_stage_is_slow_if_it_cost_a_noticeable_time_beyond_the_usual(
    queue: float, denoise: float, expected: list[str]
) -> None:
    slow, text = said({"queue": queue, "check": 0.01, "denoise": denoise}, USUAL)
    assert slow == expected
    assert text.count("Longer than usual was") == len(expected)
    assert ("about usual" in text) == (not expected and denoise == 1.0)


def test_a_slow_stage_is_named_also_if_the_whole_is_usual() -> None:
    slow, text = said({"queue": 0.5, "denoise": 0.6}, {"queue": 0.1, "denoise": 1.0})
    assert slow == ["queue"]
    assert "about usual" not in text
    assert "Longer than usual was waiting for its turn: 500 ms instead of 100 ms." in text


def test_more_steps_are_told_from_slower_ones() -> None:
    usual = {"denoise": 1.0}
    _, many = said({"denoise": 5.0}, usual, steps=100, usual_step=0.05)
    assert "A step took no longer than usual: there were more of them." in many
    _, slower = said({"denoise": 5.0}, usual, steps=20, usual_step=0.05)
    assert "A step took 5.0 times as long as usual." in slower


def test_steps_are_not_called_slow_while_their_stage_is_usual() -> None:
    slow, text = said({"denoise": 0.2}, {"denoise": 1.0}, steps=1, usual_step=0.05)
    assert slow == []
    assert "as long as usual" not in text
    assert "Usual is 1 s." in text


def test_many_small_differences_are_no_single_reason() -> None:
    stages = [f"stage_{number}" for number in range(30)]
    slow, text = said(dict.fromkeys(stages, 0.04), dict.fromkeys(stages, 0.02))
    assert slow == []
    assert "That is 2.0 times the usual 600 ms. No single stage is the reason." in text


def test_without_a_usual_nothing_is_slow() -> None:
    slow, text = said({"denoise": 9.0}, {})
    assert slow == []
    assert text == "Most of it was the model's steps: 9 s of 9 s in the service."
