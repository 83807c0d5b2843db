"""The stories as a user runs them, with a real Prometheus."""

import pytest

from safelight.cli.demo import STORIES
from safelight.diagnosis.checks.hosts import HOST_CHECKS
from safelight.stories import scenarios
from safelight.stories.live import SPANS

# Other tests can fill the machine's processor. Findings about that are correct too.
[FULL] = [check for check in HOST_CHECKS if check.name == "host_cpu"]
# A service that began a minute ago may still grow: only hours tell whether it goes on.
OF_THE_MACHINE = {FULL.name, *FULL.explains, "process_growth"}

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_the_command_offers_every_story() -> None:
    assert [scenario.name for scenario in scenarios.SCENARIOS] == list(STORIES)


def test_p13_slow_uploads_are_not_taken_for_a_slow_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "_HEALTHY_SECONDS", 30.0)
    monkeypatch.setattr(scenarios, "_FAULT_SECONDS", 30.0)
    lines: list[str] = []
    outcome = scenarios.bottleneck(lines.append)
    assert outcome.diagnosis is not None
    first = next(f for f in outcome.diagnosis.findings if f.check.name not in OF_THE_MACHINE)
    assert first.check.name == "slow_upload"
    assert first.check.remedy
    assert "slow network" in " ".join(lines)
    assert "P95" in outcome.notes[0]


def test_spans_follow_the_measured_times() -> None:
    spans = scenarios._spans(12.4, 95.2)
    assert (spans.before_seconds, spans.window_seconds) == (30, 95)
    assert spans.step_seconds == SPANS.step_seconds
