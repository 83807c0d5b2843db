"""No page has a barrier that axe-core calls serious: contrast, names, order, roles."""

from typing import Literal, get_args

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.console.browsing import FILLED, PATHS, SLOW

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SERIOUS = {"serious", "critical"}
Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = get_args(Theme)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_no_serious_barrier(
    chromium: Browser, full: str, path: str, theme: Theme
) -> None:
    context = chromium.new_context(base_url=full, color_scheme=theme)
    page = context.new_page()
    page.goto(path)
    expect(page.locator("h1")).to_be_visible(timeout=SLOW)
    if path != "/":  # Now has a stream that never ends
        page.wait_for_load_state("networkidle")
    if path in FILLED:
        expect(page.locator(FILLED[path]).first).to_be_visible(timeout=SLOW)
    found = Axe().run(page, options=RULES).response["violations"]
    context.close()
    assert [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in SERIOUS
    ] == []
