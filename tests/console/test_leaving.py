"""A page Try that is left in the middle of an edit."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.serving.http.keys import hashed
from tests.console.browsing import SLOW, opened
from tests.console.conftest import NOWHERE
from tests.console.running import console
from tests.console.test_try import KEY, PAINTER, REFUSED, after, ask, log_in, portrait
from tests.serving.conftest import serving


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a model whose steps last if told so, with keys, and a console beside it."""
    folder: Path = tmp_path_factory.mktemp("leaving")
    keys = f"anna:view+infer={hashed(KEY)}"
    with (
        pytest.MonkeyPatch.context() as environment,
        serving(folder / "service", PAINTER, records_url="", api_keys=keys) as service,
    ):
        environment.setenv("SAFELIGHT_API_KEYS", keys)
        where = ("--prometheus", NOWHERE, "--service", service.url)
        with console(folder / "console", *where) as url:
            yield url


@pytest.fixture
def page(chromium: Browser, address: str) -> Iterator[Page]:
    with opened(chromium, address, expected=REFUSED) as page:
        page.goto("/try")
        log_in(page, KEY)
        page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
        yield page


def step(page: Page) -> int:
    shown = page.get_by_text(re.compile(r"^Step \d+ of"))
    expect(shown).to_be_visible(timeout=SLOW)
    return int(shown.inner_text().split()[1])


def go(page: Page, name: str) -> None:
    """Go to another page as people do, without loading the document again."""
    page.get_by_label("Pages").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_an_edit_goes_on_while_somebody_looks_at_another_page(page: Page) -> None:
    ask(page, "slowly make him old", Steps="100")
    before = step(page)
    go(page, "Requests")
    go(page, "Try")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    assert step(page) >= before
    expect(after(page)).to_be_visible(timeout=SLOW)
    expect(page.get_by_label("Instruction")).to_have_value("slowly make him old")
    expect(page.get_by_role("button", name="Edit", exact=True)).to_be_visible()


def test_what_ended_meanwhile_is_there_with_its_image_and_its_times(page: Page) -> None:
    ask(page, "slowly make him old", Steps="20")
    step(page)
    with page.expect_response(re.compile("/api/edit$"), timeout=SLOW) as ended:
        go(page, "Requests")
    ended.value.finished()
    go(page, "Try")
    expect(after(page)).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("region", name=re.compile("^Why did this take"))).to_be_visible()


def test_it_can_be_cancelled_after_coming_back(page: Page) -> None:
    ask(page, "slowly make him old", Steps="100")
    step(page)
    go(page, "Requests")
    go(page, "Try")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".try-progress").get_by_text("Cancelled")).to_be_visible(timeout=SLOW)


def test_a_session_that_ends_in_the_middle_of_an_edit_loses_nothing(page: Page) -> None:
    ask(page, "slowly make him old", Steps="60")
    step(page)
    page.get_by_label("Instruction").fill("what is typed meanwhile")
    page.request.delete("/data/session")
    log_in(page, KEY)  # the page asks by itself
    expect(after(page)).to_be_visible(timeout=SLOW)
    expect(page.get_by_label("Instruction")).to_have_value("what is typed meanwhile")
