"""The stories, as a user runs them: each must end with the right cause, by the real Prometheus."""

import pytest

from safelight.cli.demo import STORIES
from safelight.diagnosis.checks.hosts import HOST_CHECKS
from safelight.stories import scenarios
from safelight.stories.live import SPANS

# Tests beside this one may fill the machine: to be told of that, too, is right.
[FULL] = [check for check in HOST_CHECKS if check.name == "host_cpu"]
OF_THE_MACHINE = {FULL.name, *FULL.explains}

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_each_story_of_the_command_is_told() -> None:
    assert [tale.name for tale in scenarios.SCENARIOS] == list(STORIES)


def test_p13_callers_on_a_slow_line_are_told_from_a_slow_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenarios, "_CALM_SECONDS", 30.0)
    monkeypatch.setattr(scenarios, "_BAD_SECONDS", 30.0)
    said: list[str] = []
    end = scenarios.bottleneck(said.append)
    first = next(f for f in end.diagnosis.findings if f.check.name not in OF_THE_MACHINE)
    assert first.check.name == "slow_upload"
    assert first.check.remedy
    assert "slow line" in " ".join(said)
    assert "P95" in end.notes[0]


def test_times_are_compared_however_long_they_took() -> None:
    spans = scenarios._compared(12.4, 95.2)
    assert (spans.before_seconds, spans.window_seconds) == (30, 95)
    assert spans.step_seconds == SPANS.step_seconds
