"""The dashboards, judged by Grafana's own code; and the judge, with broken dashboards."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from safelight.dashboards.catalog import boards
from safelight.stack.files.grafana import board_files
from scripts.boards_check import check, expectations

FILES = board_files()
EXPECTED = expectations(boards())
UPSIDE_DOWN = [{"color": "green", "value": None}, {"color": "red", "value": 0.95}]
Panel = dict[str, Any]


def defaults(panel: Panel) -> Panel:
    content: Panel = panel["fieldConfig"]["defaults"]
    return content


def judge(files: dict[str, str]) -> int:
    return check(files, EXPECTED)


def broken(title: str, change: Callable[[Panel], object]) -> dict[str, str]:
    """Return the file of the first dashboard with this panel, with the panel changed."""
    for name, text in FILES.items():
        content = json.loads(text)
        outer = content["panels"]
        for panel in [inner for each in outer for inner in [each, *each.get("panels", ())]]:
            if panel.get("title") == title and panel["type"] != "row":
                change(panel)
                return {name: json.dumps(content)}
    raise LookupError(title)


def test_grafana_finds_no_fault_in_any_dashboard(capfd: pytest.CaptureFixture[str]) -> None:
    code = judge(FILES)
    output = capfd.readouterr()
    assert (code, output.err) == (0, "")
    assert f"{len(FILES)} dashboards checked" in output.out


@pytest.mark.parametrize(
    ("title", "change", "fault"),
    [
        (
            "Success rate by instruction: which ones fail?",
            lambda panel: panel["options"]["color"].update(reverse=False),
            "colour of 0",
        ),
        (
            "Which instructions fail most?",
            lambda panel: defaults(panel)["thresholds"].update(steps=UPSIDE_DOWN),
            "colour below the limit",
        ),
        (
            "How similar are input and output?",
            lambda panel: panel["fieldConfig"]["defaults"]["color"].update(
                mode="continuous-GrYlRd"
            ),
            "colour of 1",
        ),
        (
            "QPS: how many requests arrive?",
            lambda panel: panel["options"]["legend"].update(showLegend=False),
            "legend is shown",
        ),
        (
            "QPS: how many requests arrive?",
            lambda panel: panel["options"]["legend"].update(calcs=["average"]),
            "calculation",
        ),
        (
            "P95 latency: how long do callers wait?",
            lambda panel: defaults(panel).update(unit="fortnights"),
            "unit",
        ),
        (
            "P95 latency: how long do callers wait?",
            lambda panel: panel["options"].update(footer={}),
            "footer",
        ),
        (
            "P95 latency: how long do callers wait?",
            lambda panel: panel["options"]["tooltip"].update(mode="all"),
            '"all"',
        ),
        ("Which GPU is it?", lambda panel: panel["transformations"][0].update(id="tidy"), "tidy"),
        (
            "Which GPU is it?",
            lambda panel: panel["transformations"][0]["options"].clear(),
            "columns",
        ),
    ],
)
def test_a_broken_dashboard_is_a_fault(
    title: str, change: Callable[[Panel], object], fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert judge(broken(title, change)) == 1
    errors = capfd.readouterr().err
    assert title in errors
    assert fault in errors
