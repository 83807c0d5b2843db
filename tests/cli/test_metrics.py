import pytest
from rich.console import Console

from safelight.metrics.catalog import CATALOG
from safelight.metrics.metric import Metric
from safelight.reference.metrics import as_markdown
from tests.cli.conftest import Call


@pytest.fixture
def listed(call: Call) -> str:
    return call("metrics", "--namespace", "zimage").out


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_every_metric_is_listed(metric: Metric, listed: str) -> None:
    assert f" {metric.full_name('zimage')} " in listed


def test_markdown_is_the_documentation_page(call: Call) -> None:
    answer = call("metrics", "--markdown")
    assert (answer.code, answer.out) == (0, as_markdown("instructpix2pix"))


def test_the_namespace_comes_from_the_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_NAMESPACE", "recognition")
    assert "recognition_request_total" in call("metrics").out


def test_a_narrow_terminal_shows_full_metric_names(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "safelight.cli.metrics.console", lambda: Console(width=80, color_system=None)
    )
    lines = call("metrics").out.splitlines()
    assert {len(line) for line in lines[1:]} == {80}
    for metric in CATALOG:
        assert any(f" {metric.full_name('instructpix2pix')} " in line for line in lines)
