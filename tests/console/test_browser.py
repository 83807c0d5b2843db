"""The console in Debian's Chromium, driven by Playwright."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from safelight.dashboards.board import Shape
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
    line = service.locator(".stat.bad .spark .line")  # it comes with the diagnosis
    expect(line).to_have_count(1, timeout=SLOW)
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


def test_a_time_that_lasts_has_two_units_at_most(page: Page) -> None:
    page.goto("/")
    found = page.evaluate(
        """import("/static/units.js").then(({ ago }) =>
          [0, 0.4, 44, 60, 458, 7200, 7505, 90000, 345600.4, -3].map(ago))"""
    )
    spans = ["0 s", "0 s", "44 s", "1 min", "7 min 38 s", "2 h", "2 h 5 min", "1 d 1 h", "4 d"]
    assert found == [*spans, "0 s"]


def test_the_keyboard_stays_where_it_is_when_a_place_is_filled_again(page: Page) -> None:
    page.goto("/")
    held = page.evaluate(
        """import("/static/dom.js").then(({ element, refill }) => {
          const place = document.getElementById("page");
          const fill = (text) => refill(place, ...["/a", "/b", "/b"].map((href) =>
            element("a", { href }, text)), element("button", {}, "Silence"));
          const heldAt = () => [...place.children].indexOf(document.activeElement);
          fill("1");
          return [2, 3].map((number) => {
            place.children[number].focus();
            fill(`${number}`);
            return heldAt();
          });
        })"""
    )
    assert held == [2, 3]


def test_a_hidden_page_gives_its_connection_back(page: Page) -> None:
    with page.expect_response("**/data/live", timeout=SLOW):
        page.goto("/")
    hide = """isHidden => {
      Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/data/live")):
        page.evaluate(hide, True)
    with page.expect_response("**/data/live", timeout=SLOW):
        page.evaluate(hide, False)


@pytest.mark.parametrize(
    "path",
    [
        *("/requests/%", "/requests/%E0%A4%A", "/dashboards/safelight-live?end=abc"),
        *("/dashboards/safelight-live?seconds=x", "/report?at=1e300", "/instructions?seconds=-1"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered_in_words(
    chromium: Browser, address: str, path: str
) -> None:
    with opened(chromium, address, expected="Failed to load resource") as page:
        page.goto(path)
        said = page.locator("main :is(.problem, .notice, .question, .empty:not(:text('…')))")
        expect(said.locator("visible=true").first).to_be_visible(timeout=SLOW)


def test_a_page_whose_script_does_not_come_says_so(chromium: Browser, address: str) -> None:
    with opened(chromium, address, expected="Failed to load resource") as page:
        page.goto("/")
        page.route("**/static/pages/alerts.js", lambda route: route.abort())
        page.get_by_role("link", name="Alerts", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("This page cannot be loaded.")
        expect(page.get_by_role("button", name="Load it again")).to_be_visible()


def test_alerts_that_ended_are_grey_and_after_those_that_fire(page: Page) -> None:
    def alert(name: str, severity: str, fires: str) -> dict[str, object]:
        labels = {"alertname": name, "severity": severity, "fires": fires}
        return {"legend": "", "labels": labels, "points": [[0, 1]]}

    ended, now = "in the last 15 minutes", "now"
    curves = [alert("A", "critical", ended), alert("B", "info", now), alert("C", "critical", now)]

    data = {"begin": 0, "end": 60, "step": 60, "curves": curves, "left_out": 0, "dots": []}
    shapes = [panel.shape for panel in boards()[0].panels]
    address = f"**/data/panel?board=safelight-live&panel={shapes.index(Shape.ALERTS)}&*"
    page.route(address, lambda route: route.fulfill(json=data))
    page.goto("/dashboards/safelight-live")
    rows = page.locator(".panel.alerts .alerts li")
    expect(rows).to_have_count(3, timeout=SLOW)
    assert [row.locator("a").inner_text() for row in rows.all()] == ["C", "B", "A"]
    assert page.locator(".panel.alerts .badge.firing").count() == 2
    expect(rows.nth(2)).to_contain_text("ended")


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
