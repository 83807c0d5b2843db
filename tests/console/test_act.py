"""The page Act in Debian's Chromium, beside a real service: two operators, and a viewer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from safelight.stories.replay import free_port
from tests.console.acting import KEYS, OPERATING, OTHER, VIEWING, answering, say_ready
from tests.console.browsing import SLOW
from tests.console.running import console
from tests.serving.conftest import READY_SECONDS, RealService, serving, until

PAINTER = "tests.serving.models:painter"
expect.set_options(timeout=SLOW)  # the page reads every five seconds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Start a service with a second model."""
    folder = tmp_path_factory.mktemp("service")
    more: dict[str, Any] = {"records_url": "", "api_keys": KEYS, "canary_seconds": "60"}
    with serving(folder, PAINTER, shadow=PAINTER, **more) as service:
        yield service


@pytest.fixture(scope="module")
def absent() -> int:
    """Return a port where no service listens."""
    return free_port()


@pytest.fixture(scope="module")
def address(
    service: RealService, absent: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("console")
    services = ("--service", service.url, "--service", f"http://127.0.0.1:{absent}")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELIGHT_API_KEYS", KEYS)
        with console(folder, *services, "--state-folder", str(folder / "state")) as url:
            yield url


@contextmanager
def looking(browser: Browser, address: str, key: str, **more: Any) -> Iterator[Page]:
    """Open the page with a key. A script that fails is an error; refusals are not."""
    context = browser.new_context(base_url=address, viewport={"width": 1440, "height": 1600})
    if more:
        context.close()
        context = browser.new_context(base_url=address, **more)
    context.request.post("/data/session", data=key)
    page, problems = context.new_page(), list[str]()
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto("/act")
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def anna(chromium: Browser, address: str) -> Iterator[Page]:
    with looking(chromium, address, OPERATING) as page:
        yield page


def card(page: Page, service: RealService) -> Locator:
    return page.get_by_role("region", name=service.url.removeprefix("http://"))


def row(page: Page, service: RealService, name: str) -> Locator:
    return card(page, service).get_by_role("group", name=name, exact=True)


def confirm(page: Page) -> None:
    """Say yes in the dialog, and wait until it is done."""
    dialog = page.get_by_role("dialog")
    dialog.locator("button:not([type=button])").click()
    expect(dialog).to_have_count(0)


def load_second(service: RealService) -> None:
    """Load the second model again: it ends with a rollout, and a start that is refused loads it."""
    key = {"authorization": f"Bearer {OPERATING}"}

    def is_ready() -> bool:
        found = service.client.get("/v1/rollout", headers=key).json()
        if found["state"] == "off":
            asked = {"model": found["second"]}
            service.client.post("/v1/rollout/start", headers=key, json=asked)
        return bool(found["state"] == "ready")

    assert until(is_ready, READY_SECONDS)


def test_a_drain_asks_once_says_what_happens_and_is_undone(
    anna: Page, service: RealService
) -> None:
    traffic = row(anna, service, "Traffic")
    traffic.get_by_role("button", name="Drain").click()
    dialog = anna.get_by_role("dialog")
    expect(dialog).to_contain_text("/readyz answers 503")
    expect(dialog).to_contain_text("Undo: End the drain")
    assert service.client.get("/readyz").status_code == 200  # it only asks
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()  # Enter does no harm
    confirm(anna)
    expect(traffic).to_contain_text("Drained by anna")
    expect(card(anna, service)).to_contain_text("draining")
    assert service.client.get("/readyz").status_code == 503

    traffic.get_by_role("button", name="End the drain").click()
    confirm(anna)
    expect(traffic).to_contain_text("Takes requests")
    assert service.client.get("/readyz").status_code == 200


def test_cancel_does_nothing(anna: Page, service: RealService) -> None:
    row(anna, service, "Traffic").get_by_role("button", name="Drain").click()
    anna.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(anna.get_by_role("dialog")).to_have_count(0)
    assert service.client.get("/readyz").status_code == 200


def test_a_level_is_pinned_and_released(anna: Page, service: RealService) -> None:
    quality = row(anna, service, "Quality")
    quality.get_by_role("button", name="Pin a level").click()
    anna.get_by_role("dialog").get_by_role("combobox").select_option("3")
    confirm(anna)
    expect(quality).to_contain_text("Level 3")
    expect(quality).to_contain_text("pinned by anna")
    expect(quality).to_contain_text("60 % of the steps")
    quality.get_by_role("button", name="Release the level").click()
    confirm(anna)
    expect(quality).to_contain_text("by the load")


def test_a_rollout_is_started_promoted_and_aborted(anna: Page, service: RealService) -> None:
    load_second(service)
    rollout = row(anna, service, "Rollout")
    rollout.get_by_role("button", name="Start a rollout").click()
    anna.get_by_label("Shares of the callers").fill("10, 100")
    confirm(anna)
    expect(rollout).to_contain_text("10 % of the callers")
    rollout.get_by_role("button", name="Promote").click()
    confirm(anna)
    expect(rollout).to_contain_text("100 % of the callers")
    rollout.get_by_role("button", name="Abort").click()
    confirm(anna)
    expect(rollout).to_contain_text("Aborted")


def test_the_other_operator_sees_it_and_what_no_longer_fits_is_said(
    anna: Page, chromium: Browser, address: str, service: RealService
) -> None:
    load_second(service)
    rollout = row(anna, service, "Rollout")
    expect(rollout.get_by_role("button", name="Start a rollout")).to_be_visible()
    with looking(chromium, address, OTHER) as cleo:
        theirs = row(cleo, service, "Rollout")
        theirs.get_by_role("button", name="Start a rollout").click()
        confirm(cleo)
        expect(theirs).to_contain_text("5 % of the callers")
        expect(rollout).to_contain_text("5 % of the callers")  # without a reload
        rollout.get_by_role("button", name="Abort").click()  # both ask
        theirs.get_by_role("button", name="Abort").click()
        confirm(anna)
        dialog = cleo.get_by_role("dialog")
        dialog.locator("button:not([type=button])").click()
        expect(dialog.get_by_role("alert")).to_have_text("No rollout is in progress.")
        dialog.get_by_role("button", name="Cancel").click()
        expect(theirs.get_by_role("button", name="Start a rollout")).to_be_visible()
        expect(cleo.locator(".act-audit tbody tr").first).to_contain_text("refused")


def test_the_audit_log_shows_who_and_when(anna: Page, service: RealService) -> None:
    row(anna, service, "Canary").get_by_role("button", name="Run the canary").click()
    confirm(anna)
    first = anna.locator(".act-audit tbody tr").first
    expect(first).to_contain_text("Run the canary")
    expect(first).to_contain_text("anna")
    expect(first).to_contain_text("done")
    expect(first.locator("time")).to_have_attribute("title", re.compile(r"^\d{4}-.* UTC$"))


def test_a_viewer_sees_the_state_and_why_the_buttons_are_off(
    chromium: Browser, address: str, service: RealService
) -> None:
    with looking(chromium, address, VIEWING) as page:
        expect(row(page, service, "Traffic")).to_contain_text("Takes requests")
        expect(page.get_by_text("your key has no scope operate")).to_be_visible()
        buttons = page.locator("#page button")
        assert buttons.count() >= 6
        assert all(button.is_disabled() for button in buttons.all())


def test_a_service_that_is_absent_is_said_and_seen_when_it_is_back(anna: Page, absent: int) -> None:
    region = anna.get_by_role("region", name=f"127.0.0.1:{absent}")
    expect(region.get_by_role("alert")).to_contain_text("does not answer. Is it running?")
    assert region.get_by_role("button").count() == 0
    with answering(say_ready, absent):
        expect(region.get_by_role("group", name="Model")).to_contain_text("Awake")


def test_focus_stays_when_the_card_is_written_again(anna: Page, service: RealService) -> None:
    pin = row(anna, service, "Quality").get_by_role("button", name="Pin a level")
    pin.focus()
    service.client.post("/v1/drain", headers={"authorization": f"Bearer {OTHER}"})
    expect(row(anna, service, "Traffic")).to_contain_text("Drained by cleo")
    expect(pin).to_be_focused()
    service.client.post("/v1/drain/end", headers={"authorization": f"Bearer {OTHER}"})


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_wider_than_a_telephone(
    chromium: Browser, address: str, service: RealService, theme: str
) -> None:
    size = {"width": 390, "height": 844}
    with looking(chromium, address, OPERATING, viewport=size, color_scheme=theme) as page:
        expect(row(page, service, "Traffic")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
