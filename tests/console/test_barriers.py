"""No page has a barrier that axe-core calls serious: contrast, names, order, roles."""

import time
from collections.abc import Iterator
from typing import Literal, get_args

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from safelight.console.pages import PAGES
from safelight.diagnosis.prometheus import Prometheus
from safelight.rules.uids import LIVE
from tests.console.browsing import SLOW
from tests.console.running import console
from tests.console.test_leaderboard import write_records

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SERIOUS = {"serious", "critical"}
Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = get_args(Theme)
SHOWN = {"dashboards": f"/dashboards/{LIVE}"}


@pytest.fixture(scope="module")
def full(past: Prometheus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a console that has something to show on every page."""
    url = f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}"
    write_records(url, time.time())
    options = ("--prometheus", past.url, "--records-url", url)
    with console(tmp_path_factory.mktemp("console"), *options) as address:
        yield address


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    "path", [*(SHOWN.get(page.name, page.path) for page in PAGES), "/requests/r0007"]
)
def test_a_page_has_no_serious_barrier(
    chromium: Browser, full: str, path: str, theme: Theme
) -> None:
    context = chromium.new_context(base_url=full, color_scheme=theme)
    page = context.new_page()
    page.goto(path)
    expect(page.locator("h1")).to_be_visible(timeout=SLOW)
    if path != "/":  # Now has a stream that never ends
        page.wait_for_load_state("networkidle")
    found = Axe().run(page, options=RULES).response["violations"]
    context.close()
    assert [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in SERIOUS
    ] == []
