import json
import sys
from typing import Any

import pytest

from safelight.dashboards.boards.core import core_board
from safelight.dashboards.grafana import as_json
from safelight.dashboards.spec import Panel, Shape
from safelight.errors import MissingExtra
from safelight.rules.thresholds import Thresholds

BOARD = core_board("instructpix2pix")
JSON: dict[str, Any] = json.loads(as_json(BOARD))
DRAWN = [panel for panel in JSON["panels"] if panel["type"] != "row"]


def test_the_board_has_the_twelve_core_panels_in_four_rows() -> None:
    assert [(row.title, len(row.panels)) for row in BOARD.rows] == [
        ("Live", 3),
        ("Deep", 3),
        ("Instructions", 3),
        ("Alerts", 3),
    ]
    assert [panel["type"] for panel in JSON["panels"]].count("row") == 4
    assert len(DRAWN) == 12


def test_each_core_panel_is_drawn_as_its_question_asks() -> None:
    assert {panel["title"]: panel["type"] for panel in DRAWN} == {
        "Requests per second": "timeseries",
        "P95 latency": "timeseries",
        "Success by instruction": "heatmap",
        "VRAM": "timeseries",
        "Inference time, distribution": "bargauge",
        "float16 against float32": "timeseries",
        "Success of frequent instructions": "bargauge",
        "Slowest instructions": "bargauge",
        "Errors by reason": "timeseries",
        "P95 over 3 s for 5 minutes": "state-timeline",
        "VRAM over 95 %": "state-timeline",
        "Queue against inference": "timeseries",
    }


def test_the_board_can_be_provisioned_anywhere() -> None:
    assert "id" not in JSON
    assert JSON["uid"] == "safelight-instructpix2pix-core"
    assert len(JSON["uid"]) <= 40, "Grafana's limit"
    variables = [variable["name"] for variable in JSON["templating"]["list"]]
    assert variables == ["datasource", "job", "instance"]
    sources = {panel["datasource"]["uid"] for panel in DRAWN}
    assert sources == {"${datasource}"}


def test_the_same_board_gives_the_same_text() -> None:
    assert as_json(core_board("instructpix2pix")) == as_json(BOARD)


def test_panels_fill_the_width_and_do_not_overlap() -> None:
    for y in {panel["gridPos"]["y"] for panel in DRAWN}:
        row = [panel["gridPos"] for panel in DRAWN if panel["gridPos"]["y"] == y]
        assert [(place["x"], place["w"]) for place in row] == [(0, 8), (8, 8), (16, 8)]


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: panel["title"])
def test_every_drawn_panel_has_a_title_a_description_a_unit_and_queries(
    panel: dict[str, Any],
) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    refs = [target["refId"] for target in panel["targets"]]
    assert refs == sorted(set(refs))


def test_latency_shows_traces_and_the_line_of_its_alert() -> None:
    latency = next(panel for panel in DRAWN if panel["title"] == "P95 latency")
    assert all(target["exemplar"] for target in latency["targets"])
    steps = latency["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 3]


def test_a_threshold_moves_line_title_and_query_together() -> None:
    moved = core_board("instructpix2pix", Thresholds(request_p95_seconds=1.5))
    titles = [panel.title for panel in moved.panels]
    assert "P95 over 1.5 s for 5 minutes" in titles
    states = next(panel for panel in moved.panels if panel.title.startswith("P95 over"))
    assert "> bool 1.5" in states.queries[0].expr


def test_an_instruction_that_never_succeeds_is_red_and_not_hidden() -> None:
    grid = next(panel for panel in DRAWN if panel["type"] == "heatmap")
    assert grid["options"]["filterValues"]["le"] < 0
    assert " or 0 * " in grid["targets"][0]["expr"]


@pytest.mark.parametrize("panel", BOARD.panels, ids=lambda panel: panel.title)
def test_windows_follow_the_time_shown(panel: Panel) -> None:
    windows = {Shape.BARS: "[$__range]", Shape.BUCKETS: "[$__range]"}
    for query in panel.queries:
        if "rate(" in query.expr and panel.shape is not Shape.STATES:
            assert windows.get(panel.shape, "[$__rate_interval]") in query.expr


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "safelight.dashboards.grafana")
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk.builders", None)
    with pytest.raises(MissingExtra, match=r"safelight\[grafana\]"):
        __import__("safelight.dashboards.grafana")
