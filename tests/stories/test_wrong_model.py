"""The story of a swapped model file, as a user runs it, with a real Prometheus."""

import pytest

from safelight.stories.wrong_model import wrong_model

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_a_swapped_model_file_is_found_although_every_request_succeeds() -> None:
    lines: list[str] = []
    outcome = wrong_model(lines.append)
    assert outcome.diagnosis is not None
    assert outcome.diagnosis.findings[0].check.name == "model_broken"
    assert "12 of 12 before, 12 of 12 with the wrong model" in outcome.notes[0]
    assert "not those that were enrolled" in outcome.notes[1]
