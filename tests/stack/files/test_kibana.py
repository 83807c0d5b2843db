"""Kibana's objects refer to each other and to fields that exist, and the script installs them."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from safelight.stack.files.elk import elk_files
from safelight.stack.files.folder import write
from safelight.stack.files.kibana import DASHBOARD, SEARCHES, dashboard_json, saved_objects
from safelight.telemetry.fields import BY_NAME
from safelight.telemetry.log_events import EVENTS
from tests.stack.elastics import KEY, FakeElastic, checked_dashboard, elastic

OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in saved_objects().splitlines()]
BOARD: dict[str, Any] = json.loads(dashboard_json())
NAME = re.compile(r"(?<![\w.`@-])@?[a-z_]+(?:\.[a-z_]+)+")  # a dotted field in a query


def sources(content: Any) -> list[str]:
    """Return the queries of a dashboard."""
    if isinstance(content, list):
        return [query for each in content for query in sources(each)]
    if not isinstance(content, dict):
        return []
    own = [content["query"]] if content.get("type") == "esql" else []
    return own + [query for each in content.values() for query in sources(each)]


QUERIES = sources(BOARD)


def install(
    folder: Path, fake: FakeElastic, key: str = KEY, *, again: bool = True
) -> subprocess.CompletedProcess[str]:
    if again:
        write(folder, elk_files())
    (folder / "curl.txt").write_text(f'header = "Authorization: ApiKey {key}"\n')
    urls = {"ELASTICSEARCH_URL": fake.url, "KIBANA_URL": fake.url}
    return subprocess.run(
        ["sh", str(folder / "elk" / "install.sh")],
        env={**os.environ, **urls, "CURL_CONFIG": str(folder / "curl.txt")},
        capture_output=True,
        text=True,
        timeout=60,
    )


# ── The script ───────────────────────────────────────────────────────────────────────────────────


def test_the_script_installs_everything_and_can_be_run_again(tmp_path: Path) -> None:
    with elastic() as fake:
        for _ in range(2):
            done = install(tmp_path, fake)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.count("\nInstalled: the dashboard of the Dashboards API.") == 1
        assert set(fake.templates) == {"logs-safelight"}
        assert set(fake.dashboards) == {DASHBOARD}
        assert len(fake.objects) == len(OBJECTS)


@pytest.mark.parametrize("status", [400, 404])
def test_an_earlier_kibana_gets_the_searches_and_their_dashboard(
    status: int, tmp_path: Path
) -> None:
    with elastic() as fake:
        fake.dashboards_status = status
        done = install(tmp_path, fake)
        assert (done.returncode, done.stderr) == (0, "")
        assert "which needs Kibana 9.5" in done.stdout
        assert ("dashboard", f"{DASHBOARD}-searches") in fake.objects


@pytest.mark.parametrize("status", [403, 500, 503])
def test_another_failure_of_the_dashboards_api_is_an_error(status: int, tmp_path: Path) -> None:
    with elastic() as fake:
        fake.dashboards_status = status
        done = install(tmp_path, fake)
        assert done.returncode == 1
        assert f"status {status}" in done.stderr
        assert "Kibana 9.5" not in done.stdout


def test_an_import_that_kibana_refuses_is_an_error(tmp_path: Path) -> None:
    with elastic() as fake:
        write(tmp_path, elk_files())
        file = tmp_path / "elk/kibana/saved-objects.ndjson"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if '"timeFieldName"' not in line))
        done = install(tmp_path, fake, again=False)
        assert done.returncode == 1
        assert "missing_references" in done.stderr


def test_with_a_wrong_key_the_script_fails_and_shows_no_key(tmp_path: Path) -> None:
    with elastic() as fake:
        done = install(tmp_path, fake, key="d3Jvbmc=")
        assert done.returncode != 0
        assert "401" in done.stderr
        assert "d3Jvbmc" not in done.stdout + done.stderr
        assert not fake.templates


# ── The objects ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("each", OBJECTS, ids=lambda each: each["id"])
def test_an_object_has_the_versions_that_migrate_it_and_whole_references(
    each: dict[str, Any],
) -> None:
    assert each["coreMigrationVersion"] == "8.8.0"
    assert re.fullmatch(r"8\.\d\.0", each["typeMigrationVersion"])
    there = {(other["type"], other["id"]) for other in OBJECTS}
    assert {(found["type"], found["id"]) for found in each["references"]} <= there


def test_every_search_reads_the_data_view() -> None:
    for each in OBJECTS:
        if each["type"] == "search":
            source = json.loads(each["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            assert source["indexRefName"] == each["references"][0]["name"]
            assert each["references"][0]["type"] == "index-pattern"


def test_the_older_dashboard_shows_every_search_once() -> None:
    [board] = [each for each in OBJECTS if each["type"] == "dashboard"]
    panels = json.loads(board["attributes"]["panelsJSON"])
    names = {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels}
    assert names == {reference["name"] for reference in board["references"]}
    assert len(panels) == len(SEARCHES)
    json.loads(board["attributes"]["optionsJSON"])


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.id)
def test_a_search_uses_fields_of_the_table(search: Any) -> None:
    assert {*search.columns, *NAME.findall(search.query)} <= BY_NAME.keys()
    assert "event.action" in search.query or "error.stack_trace" in search.query


def test_the_dashboard_has_the_shape_of_the_dashboards_api() -> None:
    checked_dashboard(BOARD)
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["grid"]["x"], panel["grid"]["x"] + panel["grid"]["w"])
        for y in range(panel["grid"]["y"], panel["grid"]["y"] + panel["grid"]["h"])
    ]
    assert len(cells) == len(set(cells)) == 48 * 25


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_reads_the_data_stream_and_fields_of_the_table(query: str) -> None:
    assert query.startswith("FROM logs-safelight-* | WHERE ")
    names = set(NAME.findall(query.partition("|")[2]))
    assert names
    assert names <= BY_NAME.keys()
    actions = set(re.findall(r'event\.action [!=]= "([^"]+)"', query))
    assert actions <= {event.action for event in EVENTS}


@pytest.mark.parametrize("panel", BOARD["panels"], ids=lambda panel: panel["id"])
def test_a_panel_shows_columns_of_its_query(panel: dict[str, Any]) -> None:
    config = panel["config"]
    [layer] = config.get("layers", [config])
    parts = [layer.get("x"), layer.get("breakdown_by"), *layer.get("y", [])]
    parts += [*layer.get("rows", []), *layer.get("metrics", [])]
    columns = [part["column"] for part in parts if part]
    assert columns
    assert all(column in layer["data_source"]["query"] for column in columns)
