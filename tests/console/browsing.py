"""Pages of the console in Debian's Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page

from safelight.console.pages import PAGES
from safelight.rules.uids import LIVE

PATHS = (
    *(page.path if page.name != "dashboards" else f"/dashboards/{LIVE}" for page in PAGES),
    "/requests/r0007",
)
FILLED = {  # once a service, or for Now Prometheus, has answered
    "/": ".service .headline",
    "/try": ".try-form",
    "/act": "[data-act=drain]",
}
SLOW = 30_000  # milliseconds; the machine may be busy
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def opened(
    browser: Browser, address: str, *, expected: str = "", locale: str = "en-US"
) -> Iterator[Page]:
    """Open a page that may only ask the console; anything that it complains about is an error.

    A complaint that contains the `expected` text is none.
    """
    context = browser.new_context(
        viewport={"width": 1440, "height": 2600}, base_url=address, locale=locale
    )
    page, problems = context.new_page(), list[str]()
    page.set_default_timeout(SLOW)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert [text for text in problems if not expected or expected not in text] == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
