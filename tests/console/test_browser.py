"""The console in Debian's Chromium, driven by Playwright."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from safelight.dashboards.catalog import boards
from tests.console.browsing import SLOW, opened
from tests.stack.waiting import eventually


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address) as page:
        yield page


def test_now_shows_the_service_its_numbers_and_why_it_fails(page: Page) -> None:
    page.goto("/")
    service = page.get_by_role("region", name="safelight")
    expect(service.get_by_text("needs attention")).to_be_visible(timeout=SLOW)
    assert service.locator(".stat").count() == 8
    assert service.locator(".stat.bad", has_text="How many fail?").count() == 1
    assert service.locator(".stat.bad .spark .line").count() == 1
    expect(service.locator(".finding")).to_contain_text("change_background")
    service.locator(".stat", has_text="How many fail?").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Instructions")
    expect(page.get_by_role("combobox", name="Service")).to_have_value("safelight", timeout=SLOW)


@pytest.mark.parametrize("board", boards(), ids=lambda board: board.name)
def test_every_panel_shows_data_or_says_why_not(page: Page, board: object) -> None:
    page.goto(f"/dashboards/{board.uid}")  # type: ignore[attr-defined]
    panels = page.locator(".panel")
    expect(panels).to_have_count(len(board.panels), timeout=SLOW)  # type: ignore[attr-defined]
    for row in page.locator("details:not([open]) > summary").all():
        row.click()
    for panel in panels.all():
        panel.scroll_into_view_if_needed()
        shown = panel.locator("canvas, table, .values, .alerts li, .empty:not(:text('…'))").first
        expect(shown).to_be_visible(timeout=SLOW)
    assert page.locator(".problem").count() == 0


def test_texts_of_a_chart_have_the_font_of_the_page(page: Page) -> None:
    page.goto("/dashboards/safelight-live")
    plot = page.locator(".panel.lines .plot").first
    expect(plot.locator("canvas").first).to_be_visible(timeout=SLOW)
    font = plot.evaluate(
        """node => {
          const canvas = document.createElement("canvas").getContext("2d");
          canvas.font = `21px ${echarts.getInstanceByDom(node).getOption().textStyle.fontFamily}`;
          return canvas.font; // a font that is none is ignored
        }"""
    )
    assert font.startswith("21px system-ui")


def test_times_of_a_column_have_as_many_digits(page: Page) -> None:
    page.goto("/")
    found = page.evaluate(
        """import("/static/units.js").then(({ format, inColumn }) => [
          ...[3, 1.6, 0.911, 12, 0, null].map((each) => inColumn(each, "s")),
          ...[3, 0.9997, 59.99].map((each) => format(each, "s")),
        ])"""
    )
    assert found[:6] == ["3.00 s", "1.60 s", "911 ms", "12.0 s", "0 s", "\u2013"]
    assert found[6:] == ["3 s", "1 s", "1 min"]


def test_receivers_cannot_be_tested_without_an_alertmanager(page: Page) -> None:
    page.goto("/alerts")
    expect(page.get_by_text("Silences and receivers are unknown.")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("button", name="Test the receivers")).to_be_disabled()
    assert "Errno" not in page.locator("main").inner_text()


def colour_of_cell(page: Page, row: str) -> tuple[int, int, int]:
    """Return red, green and blue in the middle of a row of the heatmap."""
    red, green, blue = page.evaluate(
        """row => {
          const node = document.querySelector(".panel.grid .plot");
          const chart = echarts.getInstanceByDom(node);
          const { xAxis: [columns], yAxis: [rows] } = chart.getOption();
          const cell = [Math.floor(columns.data.length / 2), rows.data.indexOf(row)];
          const layers = [...node.querySelectorAll("canvas")];
          const scale = layers[0].width / node.clientWidth;
          const [x, y] = chart.convertToPixel({ seriesIndex: 0 }, cell).map((at) => at * scale);
          const pixels = layers.map((each) => each.getContext("2d").getImageData(x, y, 1, 1).data);
          return [...(pixels.find((pixel) => pixel[3] > 0) ?? [0, 0, 0])].slice(0, 3);
        }""",
        row,
    )
    return red, green, blue


def test_a_type_that_fails_is_red_and_one_that_succeeds_is_green(page: Page) -> None:
    page.goto("/dashboards/safelight-live")
    panel = page.locator(".panel.grid")
    panel.scroll_into_view_if_needed()
    expect(panel.locator("canvas").first).to_be_visible(timeout=SLOW)
    page.wait_for_function(
        """() => [...document.querySelectorAll(".panel.grid canvas")].some((each) =>
          each.getContext("2d").getImageData(0, 0, each.width, each.height).data.some(Boolean))"""
    )
    red, green, _ = colour_of_cell(page, "change_background")
    assert red > green
    red, green, _ = colour_of_cell(page, "make_him_old")
    assert green > red


def test_the_address_has_what_was_chosen_and_back_undoes_it(page: Page) -> None:
    page.goto("/dashboards/safelight-request")
    page.get_by_label("Time range").select_option("10800")
    expect(page).to_have_url(re.compile("seconds=10800"))
    expect(page.get_by_label("Time range")).to_have_value("10800")
    page.get_by_role("link", name="Engine", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Engine")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Request")
    page.go_back()
    expect(page.get_by_label("Time range")).to_have_value("1800")


def test_a_page_whose_script_comes_late_does_not_replace_the_next_one(page: Page) -> None:
    page.goto("/alerts")
    held: list[Route] = []
    page.route("**/static/pages/requests.js", lambda route: held.append(route))
    page.get_by_role("link", name="Requests", exact=True).click()
    expect(page).to_have_url(re.compile("/requests$"))
    page.go_back()
    expect(page.get_by_role("heading", name="Alerts", level=1)).to_be_visible()
    eventually(lambda: page.evaluate("1") and held, within=10, what="the script is asked for")
    held[0].continue_()
    page.evaluate(
        "import('/static/pages/requests.js').then(() => new Promise(requestAnimationFrame))"
    )
    expect(page.get_by_role("heading", level=1)).to_have_text("Alerts")


def test_dragging_over_a_curve_zooms_every_panel(page: Page) -> None:
    page.goto("/dashboards/safelight-live?seconds=10800")
    plot = page.locator(".panel.lines .plot").first
    expect(plot.locator("canvas").first).to_be_visible(timeout=SLOW)
    box = plot.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("end="), timeout=SLOW)
    page.get_by_role("button", name="Back to now").click()
    expect(page).to_have_url(re.compile(r"^((?!end=).)*$"))


def test_the_theme_is_the_systems_until_somebody_chooses(chromium: Browser, address: str) -> None:
    context = chromium.new_context(color_scheme="light", base_url=address)
    page = context.new_page()
    page.goto("/")
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.get_by_role("button", name="Dark theme").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    context.close()


def test_nothing_is_wider_than_a_small_telephone(chromium: Browser, address: str) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=address)
    page = context.new_page()
    for path in ("/", "/dashboards/safelight-live"):
        page.goto(path)
        page.wait_for_selector(".stat, .values", timeout=SLOW)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    page.goto("/dashboards/safelight-live")
    page.get_by_role("combobox", name="Service").wait_for()
    seen = list[str]()
    while "Zoom out" not in seen and len(seen) < 60:
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim().slice(0, 24)"))
    assert seen[0] == "Skip to the page"
    assert {"Now", "Live", "Request", "Dark theme", "Zoom out"} <= set(seen)
