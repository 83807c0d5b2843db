import json
import re
import sys
from dataclasses import replace
from typing import Any

import pytest

from safelight.dashboards.board import FIRING, Board, Panel, Shape
from safelight.dashboards.catalog import boards
from safelight.dashboards.grafana_json import as_json, handed_over
from safelight.errors import MissingExtra
from safelight.rules.files import groups
from safelight.rules.leads import LEADS
from safelight.rules.thresholds import Thresholds

BOARDS = boards()
BOARD = BOARDS[0]
NAMES = [board.uid for board in BOARDS]


def panels_of(board: Board) -> list[dict[str, Any]]:
    """Return the panels of Grafana's JSON, also of closed rows, without headings and texts."""
    outer = read(board)["panels"]
    panels = [inner for each in outer for inner in [each, *each.get("panels", ())]]
    return [each for each in panels if each["type"] not in ("row", "text")]


def read(board: Board) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(as_json(board, BOARDS))
    return content


PANELS = panels_of(BOARD)
ALL_PANELS = [(board, panel) for board in BOARDS for panel in panels_of(board)]
CORE = {
    "QPS: how many requests arrive?": "timeseries",
    "P95 latency: how long do callers wait?": "timeseries",
    "Success rate by instruction: which ones fail?": "heatmap",
    "VRAM trend: does the memory grow?": "timeseries",
    "Inference time: how is it distributed?": "bargauge",
    "float16 and float32: which is faster?": "timeseries",
    "Success ranking: do the frequent instructions work?": "bargauge",
    "Slowest instructions: which take too long?": "bargauge",
    "Errors by reason: why do requests fail?": "timeseries",
    "When was P95 over 3 s for 5 minutes?": "state-timeline",
    "When was VRAM over 95 %?": "state-timeline",
    "Queue wait or inference: which is longer?": "timeseries",
}


def test_there_are_few_dashboards_and_no_title_is_used_twice_in_one() -> None:
    assert len(BOARDS) == 12
    assert len(set(NAMES)) == len(BOARDS)
    assert sum(len(board.panels) for board in BOARDS) <= 162


def test_the_first_board_opens_with_eight_numbers_the_firing_alerts_and_four_graphs() -> None:
    numbers, alerts, callers, failures = BOARD.rows[:4]
    assert [panel.shape for panel in numbers.panels] == [Shape.NUMBER] * 8
    assert all(
        panel.limit is not None for panel in numbers.panels if "per second" not in panel.title
    )
    assert [panel.shape for panel in alerts.panels] == [Shape.ALERTS]
    assert [len(row.panels) for row in (callers, failures)] == [2, 2]
    places = [panel["gridPos"] for panel in PANELS[:8]]
    assert [(place["x"], place["w"]) for place in places] == [(x, 6) for x in (0, 6, 12, 18)] * 2


def test_the_twelve_core_panels_are_open_on_the_first_board_with_their_visualizations() -> None:
    assert {panel["title"]: panel["type"] for panel in PANELS[9:]} == CORE
    assert not any(row.closed for row in BOARD.rows)


def test_every_title_is_a_question() -> None:
    for board in BOARDS:
        for panel in board.panels:
            assert panel.title.partition(" (")[0].endswith("?"), (board.uid, panel.title)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_depends_on_no_data_source_or_id_of_one_grafana(board: Board) -> None:
    content = read(board)
    assert "id" not in content
    assert len(content["uid"]) <= 40, "Grafana's limit"
    assert {panel["datasource"]["uid"] for panel in panels_of(board)} == {"${datasource}"}
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert names == ["datasource", *board.names]
    targets, cards = ["namespace", "job", "instance"], ["card_job", "card_instance"]
    assert list(board.names) in ([*targets, *cards], targets[1:])
    used = {name for name in cards if f"${name}" in json.dumps(content["panels"])}
    shown = {each["name"] for each in content["templating"]["list"] if each.get("hide") != 2}
    assert used == shown & set(cards)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_starts_with_its_question_the_alerts_that_lead_here_and_the_next_ones(
    board: Board,
) -> None:
    first = read(board)["panels"][0]
    content = first["options"]["content"]
    assert first["type"] == "text"
    assert board.question in content
    assert board.question.endswith("?")
    assert all(name in content for name in board.alerts)
    assert all(f"(/d/{uid}?" in content for uid in board.onward)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_a_dashboard_links_to_the_others_and_marks_events(board: Board) -> None:
    content = read(board)
    *onward, services, others = content["links"]
    for menu in (services, others):
        assert (menu["type"], menu["keepTime"]) == ("dashboards", True)
    keeps = "namespace" in board.names and not board.is_fixed
    assert (services["tags"], services["includeVars"]) == (["safelight-services"], keeps)
    assert not others["includeVars"], "a dashboard of one service has other jobs"
    assert content["tags"] == ["safelight", "safelight-services" if keeps else "safelight-other"]
    assert len(onward) == len(board.onward) >= 1
    assert "inControlsMenu" not in json.dumps(content)
    marks = {mark["name"] for mark in content["annotations"]["list"]}
    assert {"Restarts", "Deployments", "Alerts"} <= marks
    names = [variable["name"] for variable in content["templating"]["list"]]
    assert ("Degradations" in marks) == ("namespace" in names)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_the_same_dashboard_gives_the_same_text(board: Board) -> None:
    again = next(other for other in boards() if other.uid == board.uid)
    assert as_json(again) == as_json(board)


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_panels_fill_the_width_do_not_overlap_and_are_wide_enough_to_read(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels_of(board):
        place = panel["gridPos"]
        assert place["w"] >= 8 or panel["type"] == "stat", panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = {panel["gridPos"]["y"] for panel in panels_of(board)}
    for y in rows:
        widths = [p["gridPos"]["w"] for p in panels_of(board) if p["gridPos"]["y"] == y]
        assert sum(widths) == 24


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
    latency = next(panel for panel in PANELS if panel["title"].startswith("P95 latency"))
    assert all(target["exemplar"] for target in latency["targets"])
    steps = latency["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 3]


def test_a_threshold_changes_the_line_and_the_title() -> None:
    moved = boards(Thresholds(request_p95_seconds=1.5))[0]
    titles = [panel.title for panel in moved.panels]
    assert "When was P95 over 1.5 s for 5 minutes?" in titles
    latency = next(panel for panel in moved.panels if panel.title.startswith("P95 latency"))
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


def passed(url: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+):queryparam\}", url)) - {"datasource"}


def test_a_link_passes_every_variable_that_the_next_dashboard_has() -> None:
    services = [board for board in BOARDS if "namespace" in board.names and not board.is_fixed]
    for source in services:
        for target in services:
            assert handed_over(source, target) == [n for n in target.names if n in source.names]


def test_a_dashboard_of_one_service_never_takes_another_from_a_link() -> None:
    for target in (board for board in BOARDS if board.is_fixed):
        for source in BOARDS:
            assert not {"namespace", "job", "instance"} & set(handed_over(source, target))
        variable = read(target)["templating"]["list"][1]
        assert (variable["type"], variable["skipUrlSync"]) == ("constant", True)
        assert "namespace" in handed_over(target, BOARD)


def test_a_link_from_all_jobs_passes_no_job() -> None:
    watcher = next(board for board in BOARDS if "namespace" not in board.names)
    assert handed_over(watcher, BOARD) == []
    assert handed_over(BOARD, watcher) == ["job", "instance"]


@pytest.mark.parametrize("board", BOARDS, ids=NAMES)
def test_every_panel_links_to_another_dashboard_with_its_variables(board: Board) -> None:
    by_uid = {other.uid: other for other in BOARDS}
    onward = {p.title: p.onward or row.onward for row in board.rows for p in row.panels}
    for panel in panels_of(board):
        (link,) = panel["links"]
        uid = onward[panel["title"]]
        assert uid != board.uid
        assert link["url"].startswith(f"/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}")
        assert passed(link["url"]) == set(handed_over(board, by_uid[uid]))


def test_every_alert_leads_to_exactly_one_dashboard() -> None:
    leads = [name for board in BOARDS for name in board.alerts]
    alerts = {alert.name for group in groups("pix") for alert in group.alerts}
    assert sorted(leads) == sorted(alerts)


def test_no_panel_of_an_alert_is_in_a_closed_row() -> None:
    closed = {board.uid for board in BOARDS for row in board.rows if row.closed}
    assert closed == {"safelight-request", "safelight-engine", "safelight-quality"}
    for board in BOARDS:
        texts = (p.description for row in board.rows if row.closed for p in row.panels)
        assert not any("limit of" in text for text in texts), board.uid


def test_all_ids_of_a_dashboard_are_unique_also_of_headings_and_texts() -> None:
    for board in BOARDS:
        outer = read(board)["panels"]
        ids = [each["id"] for one in outer for each in [one, *one.get("panels", ())]]
        assert len(ids) == len(set(ids)), board.uid
        assert all(ids)


def test_the_table_of_alerts_links_each_alert_to_its_dashboard() -> None:
    (table,) = (panel for panel in PANELS if panel["type"] == "table")
    (override,) = table["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byName", "options": "alertname"}
    assert "/d/${__data.fields.dashboard}?" in json.dumps(override["properties"])
    assert table["targets"][0]["expr"].count(', "dashboard", "safelight-') == 1 + len(LEADS)


def test_the_way_from_live_leads_to_every_dashboard_of_a_cause() -> None:
    onward = {board.uid: board.onward for board in BOARDS}
    reached, waiting = set[str](), ["safelight-live"]
    while waiting:
        uid = waiting.pop()
        if uid not in reached:
            reached.add(uid)
            waiting.extend(onward[uid])
    causes = {
        "request",
        "denoising",
        "engine",
        "instructions",
        "cards-and-memory",
        "quality",
        "slo",
    }
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
