"""What pages show while Prometheus does not answer: one notice, and no number."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.dashboards.catalog import boards
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import MonitoringAbsent
from tests.console.browsing import SLOW, opened
from tests.console.conftest import NOWHERE
from tests.console.running import console

NOTICE = f"Prometheus does not answer: {NOWHERE}"
REFUSED = "Failed to load resource"  # Chromium's complaint about each status of 400 or more


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a console without a Prometheus."""
    with console(tmp_path_factory.mktemp("alone"), "--prometheus", NOWHERE) as url:
        yield url


@pytest.fixture
def page(chromium: Browser, alone: str) -> Iterator[Page]:
    with opened(chromium, alone, expected=REFUSED) as page:
        yield page


@pytest.mark.parametrize("path", ["/", "/alerts", "/dashboards/safelight-live"])
def test_it_is_said_once_with_what_to_do_and_where_to_go(page: Page, path: str) -> None:
    page.goto(path)
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text(NOTICE, timeout=SLOW)
    expect(notice).to_contain_text("--prometheus")
    assert notice.get_by_role("link").all_inner_texts() == ["Try", "Requests", "Act"]
    expect(page.get_by_text(NOTICE)).to_have_count(1)
    assert page.locator(".problem:visible").count() == 0


def test_no_tile_has_a_number_or_overflows(page: Page) -> None:
    page.goto("/dashboards/safelight-live")
    tiles = page.locator(".numbers .panel")
    expect(tiles.filter(has_text="unknown")).to_have_count(tiles.count(), timeout=SLOW)
    for body in page.locator(".numbers .panel .body").all():
        assert body.evaluate("node => node.scrollHeight <= node.clientHeight")


def test_a_number_from_before_goes_and_comes_back_with_prometheus(
    chromium: Browser, address: str
) -> None:
    with opened(chromium, address, expected=REFUSED) as page:
        page.goto("/dashboards/safelight-live?refresh=5")
        tile = page.get_by_role("region", name="How many fail?")
        expect(tile.locator("strong").first).to_be_visible(timeout=SLOW)
        gone = {"reason": "prometheus_absent", "detail": "", "address": NOWHERE}
        page.route("**/data/panel?*", lambda route: route.fulfill(status=502, json=gone))
        expect(page.get_by_text(NOTICE)).to_be_visible(timeout=SLOW)
        expect(tile).to_contain_text("unknown", timeout=SLOW)
        page.locator("#theme").click()  # which draws everything again
        expect(tile.locator("strong")).to_have_count(0)
        page.unroute("**/data/panel?*")
        expect(tile.locator("strong").first).to_be_visible(timeout=SLOW)
        expect(page.get_by_text(NOTICE)).to_have_count(0, timeout=SLOW)


def test_the_pages_that_need_no_prometheus_say_nothing_of_it(page: Page) -> None:
    for path in ("/try", "/requests", "/act"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_text("Prometheus does not answer")).to_have_count(0)


def test_an_answer_says_that_it_is_absent_and_where(alone: str) -> None:
    uid = boards()[0].uid
    answer = httpx.get(f"{alone}/data/panel", params={"board": uid, "panel": 0}, timeout=30)
    assert answer.status_code == 502
    assert (answer.json()["reason"], answer.json()["address"]) == ("prometheus_absent", NOWHERE)


def test_a_prometheus_that_starts_or_hides_behind_a_proxy_is_absent_too() -> None:
    def starting(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, text="Service Unavailable")

    address = "http://user:secret@prometheus:9090"
    with (
        Prometheus(address, transport=httpx.MockTransport(starting)) as client,
        pytest.raises(MonitoringAbsent) as error,
    ):
        client.now()
    assert error.value.address == "http://prometheus:9090"
