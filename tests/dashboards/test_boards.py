import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest

from safelight.dashboards.board import FIRING, Board, Panel, Shape
from safelight.dashboards.catalog import boards
from safelight.dashboards.grafana_json import as_json
from safelight.errors import MissingExtra
from safelight.rules.thresholds import Thresholds

BOARDS = boards()
BOARD = BOARDS[0]
NAMES = [board.uid for board in BOARDS]


def panels_of(board: Board) -> list[dict[str, Any]]:
    """Return the panels of Grafana's JSON, without row headings and the question."""
    return [each for each in read(board)["panels"] if each["type"] not in ("row", "text")]


def read(board: Board) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(as_json(board, BOARDS))
    return content


PANELS = panels_of(BOARD)
ALL_PANELS = [(board, panel) for board in BOARDS for panel in panels_of(board)]


def test_there_are_at_least_fourteen_dashboards_and_110_panels() -> None:
    assert len(BOARDS) >= 14
    assert sum(len(board.panels) for board in BOARDS) >= 110
    assert len(set(NAMES)) == len(BOARDS)


def test_the_first_board_opens_with_eight_numbers_and_the_firing_alerts() -> None:
    numbers, alerts = BOARD.rows[:2]
    assert [panel.shape for panel in numbers.panels] == [Shape.NUMBER] * 8
    assert all(panel.limit is not None for panel in numbers.panels if panel.title != "Traffic")
    assert [panel.shape for panel in alerts.panels] == [Shape.TABLE]
    places = [panel["gridPos"] for panel in PANELS[:8]]
    assert {(place["y"], place["w"]) for place in places} == {(3, 3)}


def test_the_first_board_has_the_twelve_core_panels_in_four_rows() -> None:
    assert [(row.title, len(row.panels)) for row in BOARD.rows[2:]] == [
        ("Live", 3),
        ("Model", 3),
        ("Instructions", 3),
        ("Alerts", 3),
    ]
    assert len(PANELS) == 8 + 1 + 12


def test_each_core_panel_has_its_type_of_visualization() -> None:
    assert {panel["title"]: panel["type"] for panel in PANELS[9:]} == {
        "Requests per second": "timeseries",
        "P95 latency": "timeseries",
        "Success by instruction": "heatmap",
        "VRAM": "timeseries",
        "Inference time, distribution": "bargauge",
        "Inference time by precision": "timeseries",
        "Success of frequent instructions": "bargauge",
        "Slowest instructions": "bargauge",
        "Errors by reason": "timeseries",
        "P95 over 3 s for 5 minutes": "state-timeline",
        "VRAM over 95 %": "state-timeline",
        "Queue wait and inference time": "timeseries",
    }


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_depends_on_no_data_source_or_id_of_one_grafana(board: Board) -> None:
    content = read(board)
    assert "id" not in content
    assert len(content["uid"]) <= 40, "Grafana's limit"
    assert {panel["datasource"]["uid"] for panel in panels_of(board)} == {"${datasource}"}
    variables = [variable["name"] for variable in content["templating"]["list"]]
    assert variables in (
        ["datasource", "namespace", "job", "instance"],
        ["datasource", "job", "instance"],
    )


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_starts_with_the_question_that_it_answers(board: Board) -> None:
    first = read(board)["panels"][0]
    assert (first["type"], first["options"]["content"]) == ("text", board.question)
    assert board.question.endswith("?")


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_links_to_the_others_and_marks_events(board: Board) -> None:
    content = read(board)
    *onward, menu = content["links"]
    assert (menu["type"], menu["tags"], menu["keepTime"]) == ("dashboards", ["safelight"], True)
    assert not menu["includeVars"], "another dashboard's job has other values"
    assert len(onward) == len(board.onward) >= 1
    assert all("placement" not in link for link in content["links"])
    marks = {mark["name"] for mark in content["annotations"]["list"]}
    assert {"Restarts", "Deployments", "Alerts"} <= marks
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert ("Degradations" in marks) == ("namespace" in names)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_the_same_dashboard_gives_the_same_text(board: Board) -> None:
    again = next(other for other in boards() if other.uid == board.uid)
    assert as_json(again) == as_json(board)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_panels_fill_the_width_and_do_not_overlap(board: Board) -> None:
    for y in {panel["gridPos"]["y"] for panel in panels_of(board)}:
        places = [panel["gridPos"] for panel in panels_of(board) if panel["gridPos"]["y"] == y]
        width = 24 // len(places)
        assert [place["x"] for place in places] == [width * n for n in range(len(places))]


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_titles_of_a_dashboard_are_unique(board: Board) -> None:
    titles = [panel.title for panel in board.panels]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize(
    "panel",
    [p for _, p in ALL_PANELS],
    ids=[f"{board.uid}/{p['title']}" for board, p in ALL_PANELS],
)
def test_every_panel_has_a_title_a_description_a_unit_and_queries(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    refs = [target["refId"] for target in panel["targets"]]
    assert refs == sorted(set(refs))


def test_latency_shows_traces_and_the_limit_of_its_alert() -> None:
    latency = next(panel for panel in PANELS if panel["title"] == "P95 latency")
    assert all(target["exemplar"] for target in latency["targets"])
    steps = latency["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 3]


def test_a_threshold_changes_the_line_and_the_title() -> None:
    moved = boards(Thresholds(request_p95_seconds=1.5))[0]
    titles = [panel.title for panel in moved.panels]
    assert "P95 over 1.5 s for 5 minutes" in titles
    latency = next(panel for panel in moved.panels if panel.title == "P95 latency")
    assert latency.limit == 1.5


def test_an_instruction_that_never_succeeds_is_red_and_visible() -> None:
    grid = next(panel for panel in PANELS if panel["type"] == "heatmap")
    assert grid["options"]["filterValues"]["le"] < 0
    assert " or 0 * " in grid["targets"][0]["expr"]


@pytest.mark.parametrize(
    "panel", [p for board in BOARDS for p in board.panels], ids=lambda panel: panel.title
)
def test_windows_depend_on_the_time_range(panel: Panel) -> None:
    windows = dict.fromkeys((Shape.BARS, Shape.BUCKETS, Shape.NUMBER), "[$__range]")
    if panel in BOARD.rows[0].panels:
        windows[Shape.NUMBER] = "[5m]"  # now, whatever the time range is
    for query in panel.queries:
        if re.search(r"\b(rate|increase)\(", query.expr) and panel.shape is not Shape.STATES:
            assert windows.get(panel.shape, "[$__rate_interval]") in query.expr


def test_the_error_names_the_extra_if_the_library_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "safelight.dashboards.grafana_json")
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk.builders", None)
    with pytest.raises(MissingExtra, match=r"safelight\[grafana\]"):
        __import__("safelight.dashboards.grafana_json")


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_link_passes_the_variables_that_have_the_same_values_there(board: Board) -> None:
    by_uid = {other.uid: other for other in BOARDS}
    for link, uid in zip(read(board)["links"], board.onward, strict=False):
        target = by_uid[uid]
        assert link["url"].startswith(f"/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}")
        passed = set(re.findall(r"\$\{(\w+):queryparam\}", link["url"])) - {"datasource"}
        queries = {each.name: each.query for each in board.variables}
        same = {each.name for each in target.variables if queries.get(each.name) == each.query}
        assert passed == same


def test_the_way_from_live_leads_to_every_dashboard_of_a_cause() -> None:
    onward = {board.uid: board.onward for board in BOARDS}
    reached, waiting = set[str](), ["safelight-live"]
    while waiting:
        uid = waiting.pop()
        if uid not in reached:
            reached.add(uid)
            waiting.extend(onward[uid])
    causes = {"request", "denoising", "engine", "instructions", "cards-and-memory", "hosts", "slo"}
    assert {f"safelight-{name}" for name in causes} <= reached
    assert all("safelight-live" in names for uid, names in onward.items() if uid != BOARD.uid)


def test_all_jobs_are_those_of_the_list_and_not_any_job() -> None:
    for board in BOARDS:
        for variable in read(board)["templating"]["list"]:
            assert "allValue" not in variable, board.uid


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_panel_keeps_its_id_when_another_is_added(board: Board) -> None:
    ids = {panel["title"]: panel["id"] for panel in panels_of(board)}
    assert len(set(ids.values())) == len(ids)
    shorter = replace(board, rows=board.rows[1:])
    assert {panel["title"]: panel["id"] for panel in panels_of(shorter)}.items() <= ids.items()


def test_the_slo_dashboard_opens_with_a_week() -> None:
    content = read(next(board for board in BOARDS if board.uid == "safelight-slo"))
    assert (content["time"]["from"], content["refresh"]) == ("now-7d", "5m")


def test_every_histogram_over_time_has_a_unit_on_its_axis() -> None:
    heats = [p for board in BOARDS for p in board.panels if p.shape is Shape.HEAT]
    assert heats
    assert all(panel.axis_unit == "s" for panel in heats)


def test_shares_with_a_limit_say_whether_high_is_good() -> None:
    judged = (Shape.BARS, Shape.NUMBER)
    for board in BOARDS:
        for panel in board.panels:
            if panel.shape in judged and panel.limit is not None and panel.unit == "percentunit":
                assert panel.better is not None, panel.title


def test_a_panel_that_needs_something_says_so_while_it_is_empty() -> None:
    shown = {(board.uid, panel["title"]): panel for board, panel in ALL_PANELS}
    needing = [(board, panel) for board in BOARDS for panel in board.panels if panel.needs]
    assert needing
    for board, panel in needing:
        defaults = shown[board.uid, panel.title]["fieldConfig"]["defaults"]
        assert (panel.needs == FIRING and defaults["noValue"] == "Nothing fires.") or (
            panel.needs in defaults["noValue"]
        )


def test_the_legend_of_a_histogram_is_the_edge_that_grafana_sorts_by() -> None:
    """Grafana parses it as a number, so it has no unit."""
    for board in BOARDS:
        for panel in board.panels:
            if panel.shape in (Shape.BUCKETS, Shape.HEAT):
                assert [query.legend for query in panel.queries] == ["{{le}}"], panel.title
