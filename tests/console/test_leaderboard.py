"""The page Instructions, over real records with good, bad and disputed types."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.console import leaderboard
from safelight.console.archive import Archive
from safelight.serving.http.keys import hashed
from tests.console.browsing import SLOW, opened
from tests.console.running import console
from tests.console.scored import EACH, STEPS, SUCCESS, write_records

VIEWING = "sl-viewers-key"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}"
    write_records(url, time.time())
    return url


@pytest.fixture(scope="module")
def address(records: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with console(tmp_path_factory.mktemp("console"), "--records-url", records) as url:
        yield url


def ask(address: str, **query: str | float) -> httpx.Response:
    return httpx.get(f"{address}/data/instructions", params=query, timeout=60)


def test_the_best_type_is_first_and_the_worst_is_last(address: str) -> None:
    found = ask(address).json()
    assert found["requests"] == EACH * len(SUCCESS)
    assert found["leaders"][0] == "make_him_old"
    assert found["leaders"][-1] == "change_background"
    [worst] = [each for each in found["types"] if each["name"] == "change_background"]
    assert worst["success"]["low"] < SUCCESS["change_background"] < worst["success"]["high"]


def test_settings_that_nothing_beats_are_on_the_front(address: str) -> None:
    choices = ask(address).json()["tradeoff"]["choices"]
    assert [choice["setting"]["steps"] for choice in choices] == list(STEPS)
    assert all(choice["on_front"] for choice in choices)  # slower, and better
    by_rating = ask(address, by="rating").json()["tradeoff"]
    assert by_rating["by"] == "rating"


def test_ratings_are_counted_and_a_disputed_request_is_listed(address: str) -> None:
    found = ask(address).json()
    assert sum(map(sum, found["ratings"].values())) == EACH * len(SUCCESS) // 6
    assert "r0006" in [each["request_id"] for each in found["disagreements"]]


def test_the_worst_of_each_type_have_images(address: str) -> None:
    worst = ask(address).json()["worst"]
    assert set(worst) == set(SUCCESS)
    for own in worst.values():
        assert 0 < len(own) <= 4
        scores = [each.get("rating", 6) for each in own if each["error"] == "none"]
        assert scores == sorted(scores)


def test_a_time_without_requests_is_no_error(address: str) -> None:
    found = ask(address, service="others").json()
    assert found["requests"] == 0
    assert found["types"] == []


@pytest.mark.parametrize(
    "query",
    [{"seconds": "0"}, {"seconds": "inf"}, {"by": "beauty"}, {"service": "x" * 41}],
    ids=str,
)
def test_a_choice_that_makes_no_sense_is_refused_in_words(
    address: str, query: dict[str, str]
) -> None:
    answer = ask(address, **query)
    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["detail"]


def test_only_the_newest_of_many_requests_are_read_and_it_is_said(
    records: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "MOST_REQUESTS", 50)
    page = leaderboard.Leaderboard(Archive(records), None)
    found = page.read("", 3600.0, "score")
    assert found["is_limited"]
    assert found["requests"] == 50


# ── In the browser ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def drawn(page: Page) -> list[str]:
    """Return the names of the types in the radar."""
    return list(
        page.locator(".radar").evaluate(
            "node => echarts.getInstanceByDom(node).getOption().series[0].data.map(d => d.name)"
        )
    )


def test_the_table_the_radar_and_the_front_are_drawn(page: Page) -> None:
    page.goto("/instructions")
    rows = page.locator("table.scores tbody tr")
    expect(rows).to_have_count(4, timeout=SLOW)
    expect(rows.first).to_contain_text("make him old")
    expect(page.locator(".radar canvas")).to_be_visible()
    assert drawn(page) == ["make him old", "change style", "add object"]
    page.get_by_label("Draw change background").check()
    page.get_by_label("Draw change style").uncheck()
    assert drawn(page) == ["make him old", "add object", "change background"]
    expect(page.locator(".tradeoff canvas")).to_be_visible()
    page.get_by_role("combobox", name="Quality").select_option("structure")
    page.wait_for_url("**by=structure*")
    structure = re.compile("^structure beside seconds for 3 settings")
    expect(page.locator(".tradeoff")).to_have_attribute("aria-label", structure, timeout=SLOW)


@pytest.mark.parametrize("count", [1, 3, 9])
@pytest.mark.parametrize("path", ["/instructions", "/requests", "/requests/r0000"])
def test_a_page_with_a_few_records_is_whole(
    chromium: Browser, tmp_path: Path, count: int, path: str
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    write_records(url, time.time(), count)
    with console(tmp_path, "--records-url", url) as few, opened(chromium, few) as page:
        page.goto(path)
        named = page.get_by_text("make him old").locator("visible=true")
        expect(named.first).to_be_visible(timeout=SLOW)
        assert page.get_by_role("alert").all_inner_texts() == []


def test_a_type_leads_to_its_failures_and_a_tile_to_its_request(page: Page) -> None:
    page.goto("/instructions")
    row = page.locator("table.scores tbody tr", has_text="change background")
    row.get_by_role("link", name="failures").click(timeout=SLOW)
    page.wait_for_url("**/requests?type=change_background&result=failed")
    page.go_back()
    tile = page.get_by_role("region", name="The worst of each type").get_by_role("listitem").first
    expect(tile.locator("img").first).to_be_visible(timeout=SLOW)
    tile.get_by_role("link").click()
    expect(page.get_by_role("region", name="Stages")).to_be_visible(timeout=SLOW)


def test_a_viewer_sees_no_images(
    records: str, tmp_path: Path, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", f"ben:view={hashed(VIEWING)}")
    with console(tmp_path, "--records-url", records) as url:
        context = chromium.new_context(base_url=url)
        context.request.post("/data/session", data=VIEWING)
        page = context.new_page()
        page.goto("/instructions")
        tiles = page.get_by_role("region", name="The worst of each type").get_by_role("listitem")
        expect(tiles.first).to_be_visible(timeout=SLOW)
        assert page.locator(".tiles img").count() == 0
        context.close()
