"""A story is played, and the page Health report draws what it finds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.report import sentence
from safelight.stories import scenarios
from safelight.stories.replay import replay
from tests.console.browsing import SLOW, opened
from tests.console.running import console


def test_the_finding_of_a_played_story_is_drawn_with_its_forecast(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, str] = {}

    @contextmanager
    def watched(folder: Path) -> Iterator[Prometheus]:
        with replay(folder) as prometheus:
            yield prometheus
            with (
                console(tmp_path, "--prometheus", prometheus.url) as url,
                opened(chromium, url) as page,
            ):
                page.goto("/report")
                finding = page.get_by_role("article", name="GPU memory leaks")
                shown["verdict"] = finding.locator("p").first.inner_text(timeout=SLOW)
                chart = finding.locator(".evidence-chart .plot").first
                expect(chart.locator("canvas")).to_be_visible(timeout=SLOW)
                shown["drawn"] = chart.get_attribute("aria-label") or ""
                row = page.get_by_role("row", name="GPU memory of PyTorch")
                shown["forecast"] = row.inner_text(timeout=SLOW)

    monkeypatch.setattr(scenarios, "replay", watched)
    outcome = scenarios.leak(lambda _: None)

    assert outcome.diagnosis is not None
    first = outcome.diagnosis.findings[0]
    assert first.check.title == "GPU memory leaks"
    begin = sentence(first.sign.verdict).partition(":")[0]
    assert shown["verdict"].startswith(begin)
    assert "At the moment: " in shown["drawn"]
    assert "95 %" in shown["forecast"]
