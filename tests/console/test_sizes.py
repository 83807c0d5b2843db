"""The pages on telephones and on large screens, and what stands in line with what."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browsing import FILLED, PATHS, SLOW

ALERT = {"severity": "warning", "state": "firing", "since": "2026-12-02T20:00:00Z", "job": "a"}
LONG = "Words and words " * 12
ALERTS = [
    {**ALERT, "name": "Short", "summary": "A text."},
    {
        **ALERT,
        "name": "SafelightAnAlertWithALongName",
        "severity": "critical",
        "summary": "B " * 99,
    },
    {**ALERT, "name": "SafelightOther", "state": "pending", "summary": "Another text."},
]


@contextmanager
def sized(browser: Browser, address: str, width: int, height: int = 900) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": height}, base_url=address, locale="en-US"
    )
    page = context.new_page()
    page.set_default_timeout(SLOW)
    yield page
    context.close()


def settle(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("h1")).to_be_visible()
    if path != "/":  # Now has a stream that never ends
        page.wait_for_load_state("networkidle")
    if path in FILLED:
        expect(page.locator(FILLED[path]).first).to_be_visible()


def lefts(page: Page, selector: str) -> set[int]:
    return {round(each["x"]) for each in boxes(page, selector)}


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    """Return the places of the elements that are shown."""
    found = page.locator(selector).evaluate_all(
        "nodes => nodes.map((node) => node.getBoundingClientRect().toJSON())"
    )
    return [each for each in found if each["width"] > 0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [360, 390])
def test_no_page_is_wider_than_a_telephone(
    chromium: Browser, full: str, width: int, path: str
) -> None:
    with sized(chromium, full, width) as page:
        settle(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 390])
def test_every_page_and_dashboard_is_reached_on_a_telephone(
    chromium: Browser, full: str, width: int
) -> None:
    with sized(chromium, full, width) as page:
        settle(page, "/requests")
        links = boxes(page, "#nav a.first")
        assert len(links) == 7
        assert all(each["left"] >= 0 and each["right"] <= width for each in links)
        page.get_by_label("Pages").get_by_text("Dashboards").click()
        boards = boxes(page, "#nav .group a")
        assert len(boards) == 12
        assert all(each["left"] >= 0 and each["right"] <= width for each in boards)
        page.get_by_label("Pages").get_by_role("link", name="Engine").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Engine")
        expect(page.locator("#nav .group")).not_to_have_attribute("open", "")


@pytest.mark.parametrize("width", [360, 390])
def test_the_scores_are_cards_on_a_telephone(chromium: Browser, full: str, width: int) -> None:
    with sized(chromium, full, width) as page:
        settle(page, "/instructions?service=tests")  # other tests edit with the other service
        expect(page.locator(".scores tbody th").nth(2)).to_be_visible(timeout=SLOW)
        cells = boxes(page, ".scores tbody :is(th, td)")
        assert len(cells) > 20
        assert all(each["left"] >= 0 and each["right"] <= width for each in cells)
        named = page.locator(".scores tbody td[data-name]").first
        assert "accuracy" in named.evaluate("node => getComputedStyle(node, '::before').content")


@pytest.mark.parametrize("path", PATHS)
def test_a_large_screen_is_used(chromium: Browser, full: str, path: str) -> None:
    with sized(chromium, full, 3840, 2160) as page:
        settle(page, path)
        size = page.locator("h1").evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
        assert size >= 30
        widest = max(each["right"] for each in boxes(page, "main *"))
        assert 3600 < widest <= 3840


def test_two_services_are_beside_each_other_on_a_large_screen(chromium: Browser, full: str) -> None:
    with sized(chromium, full, 3840, 2160) as page:
        settle(page, "/act")
        columns = "getComputedStyle(document.querySelector('.act-cards')).gridTemplateColumns"
        assert len(page.evaluate(columns).split()) == 2


def test_the_alerts_of_now_are_in_columns(chromium: Browser, address: str) -> None:
    content = json.dumps({"at": 1.8e9, "services": [], "alerts": ALERTS, "problem": ""})
    with sized(chromium, address, 1440) as page:
        page.route(
            "**/data/live",
            lambda route: route.fulfill(
                content_type="text/event-stream", body=f"data: {content}\n\n"
            ),
        )
        page.goto("/")
        expect(page.locator(".alerts li")).to_have_count(3)
        for number in (1, 2, 3):
            assert len(lefts(page, f".alerts li > :nth-child({number})")) == 1
        assert len({round(each["right"]) for each in boxes(page, ".alerts time")}) == 1
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_panels_of_a_row_are_in_line(chromium: Browser, address: str) -> None:
    with sized(chromium, address, 1440) as page:
        settle(page, "/dashboards/safelight-live")
        rows = page.locator(".row").all()
        assert len(rows) >= 6
        for number in range(len(rows)):
            found = boxes(page, f".row:nth-of-type({number + 1}) .panel")
            lines = {round(each["top"]) for each in found}
            assert all(one == other or abs(one - other) > 90 for one in lines for other in lines)


def test_the_filters_are_one_bar_and_the_table_does_not_jump(chromium: Browser, full: str) -> None:
    choices = {"services": ["one", "two"], "types": ["make_him_old"], "reasons": ["timeout"]}
    with sized(chromium, full, 1440) as page:
        page.route("**/data/requests/choices", lambda route: route.fulfill(json=choices))
        settle(page, "/requests")
        expect(page.get_by_label("Service")).to_be_visible()
        labels = boxes(page, ".filters label")
        assert len(labels) == 9
        assert len({round(each["top"]) for each in labels}) == 1
        [table] = boxes(page, ".requests")
        assert round(labels[-1]["right"]) == round(table["right"])
        page.get_by_label("Result").select_option("failed")
        expect(page.get_by_role("button", name="Clear")).to_be_visible()
        page.wait_for_load_state("networkidle")
        expect(page.locator(".requests")).to_be_visible()
        assert boxes(page, ".requests")[0]["top"] == table["top"]
        page.set_viewport_size({"width": 900, "height": 900})  # the bar needs two lines
        bottom = max(each["bottom"] for each in boxes(page, ".filters label"))
        assert 0 < boxes(page, ".requests")[0]["top"] - bottom < 30
