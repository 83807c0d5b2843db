"""A browser that prefers Chinese sees Chinese: every text of a page has a translation."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from safelight.metrics.catalog import RATING_REASON, STAGE
from safelight.reasons import REASONS
from safelight.translation import told
from tests.console.browsing import FILLED, PATHS, SLOW, opened
from tests.console.scored import SUCCESS
from tests.languages import HOSTILE, finished

# Identifiers and code have one name in all languages.
NOT_YET = "noscript, code, .try-code, .try-ideas"
TEXTS = """(left_out) => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode())
    if (!walker.currentNode.parentElement.closest(left_out)) found.push(walker.currentNode.data);
  const names = ["aria-label", "title", "placeholder", "alt", "data-text"];
  for (const node of document.body.querySelectorAll("*"))
    for (const name of names)
      if (node.hasAttribute(name) && !node.closest(left_out)) found.push(node.getAttribute(name));
  return found;
}"""
AT = "2026-01-02T03:04:05Z"
NAMES = {
    *("English", "Safelight", "Z-Image", "float16", "image_guidance_scale", "tests", "/api/edit"),
    *("Pix", "denoise", "queue", "busy", "calm", "other", "all", "safelight (instructpix2pix)"),
    *(reason.replace("_", " ") for reason in REASONS),
    *REASONS,
    *SUCCESS,
    *(name.replace("_", " ") for name in SUCCESS),
    *("add_sunglasses", "change background", "demo-edit", "curl", "httpx", "openai"),
    *(name.replace("_", " ") for name in (*(STAGE.values or ()), *(RATING_REASON.values or ()))),
}
IDENTIFIER = re.compile(
    r"\d{4}-\d\d-\d\d [\d:]+ UTC|safelight(-\d:\d+.*)?|[0-9a-f]{32}|float16 P\d\d"
    r"|\d{3} \w+( \w+)*|[\d.]+ ?[\w/]+|(http://)?127.0.0.1:\d+"
    r"|instructpix2pix( safelight)?|demo-edit"
)
WORD, CHINESE = re.compile(r"[A-Za-z]{4,}"), re.compile("[一-鿿]")


@pytest.fixture
def page(chromium: Browser, full: str) -> Iterator[Page]:
    with opened(chromium, full, locale="zh-CN") as page:
        yield page


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_in_chinese(page: Page, path: str) -> None:
    page.goto(path)
    expect(page.locator("h1")).to_be_visible(timeout=SLOW)
    if path != "/":
        page.wait_for_load_state("networkidle")
    if path in FILLED:
        expect(page.locator(FILLED[path]).first).to_be_visible(timeout=SLOW)
    assert_chinese(page)


def test_an_edit_and_its_explanation_are_in_chinese(page: Page) -> None:
    page.goto("/try")
    page.get_by_role("button", name="使用示例人像").click()
    expect(page.get_by_text("像素")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="make him old").click()
    page.get_by_role("button", name="编辑", exact=True).click()
    expect(page.get_by_role("link", name="该请求的全部信息")).to_be_visible(timeout=SLOW)
    expect(page.get_by_role("region", name="为什么用了")).to_contain_text("主要耗时")
    expect(page.get_by_role("button", name="再次使用该种子")).to_be_visible()
    expect(page.get_by_label("原因")).to_contain_text("不像本人")
    assert page.title() == "试用 · Safelight"
    assert_chinese(page)


def test_a_question_of_the_page_act_is_in_chinese(page: Page) -> None:
    page.goto("/act")
    page.get_by_role("button", name="固定级别").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("解除固定。")
    expect(dialog.get_by_label("级别")).to_contain_text("另外队列减半")
    assert_chinese(page)
    dialog.get_by_role("button", name="固定级别").click()
    expect(page.get_by_role("table")).to_contain_text("完成")
    assert_chinese(page)


def test_the_browser_tells_a_finished_text_as_the_server_does(page: Page) -> None:
    page.goto("/alerts")
    expect(page.get_by_role("heading", level=1)).to_have_text("告警", timeout=SLOW)
    texts = [
        "longest stage: decode, 2.1 s per request, 45 % of the time",
        f"4.2; the limit is 2; the alert fires; its condition holds since {AT} (5 s)",
        "2 instances: a:1, b:2. The worst: a:1 is full",
        "The error budget of latency burns too fast",
        "1 worker of a:1 in the state `hung`",
        "the moon is full",
        *finished(),
        *HOSTILE,
    ]
    script = 'async (texts) => texts.map((await import("/static/words.js")).told)'
    own = page.evaluate(script, texts)
    pairs = zip(texts, own, strict=True)
    assert [text for text, each in pairs if each != told(text, "zh")] == []


def test_no_text_holds_the_browser(page: Page) -> None:
    page.goto("/alerts")
    expect(page.get_by_role("heading", level=1)).to_have_text("告警", timeout=SLOW)
    script = """async (texts) => {
      const { told } = await import("/static/words.js");
      const began = performance.now();
      texts.forEach(told);
      return performance.now() - began;
    }"""
    usual = min(page.evaluate(script, finished()) for _ in range(2))
    assert page.evaluate(script, HOSTILE) < 5 * usual


def assert_chinese(page: Page) -> None:
    """Check that the page has Chinese texts, and besides them names only."""
    texts = {text.strip() for text in page.evaluate(TEXTS, NOT_YET)}
    assert any(map(CHINESE.search, texts))
    assert [text for text in sorted(texts) if is_english(text)] == []


def is_english(text: str) -> bool:
    """Return whether a text has English words, and is no name of something."""
    parts = [part.strip() for part in re.split("[·,]", text)]
    named = all(part in NAMES or not part or IDENTIFIER.fullmatch(part) for part in parts)
    return bool(WORD.search(text)) and not CHINESE.search(text) and not named


def test_the_language_is_the_viewers_choice_and_stays(page: Page) -> None:
    page.goto("/alerts")
    expect(page.get_by_role("heading", level=1)).to_have_text("告警", timeout=SLOW)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Alerts", timeout=SLOW)
    page.goto("/requests")
    expect(page.get_by_role("heading", level=1)).to_have_text("Requests", timeout=SLOW)
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_language_that_is_not_there_is_said(full: str) -> None:
    assert httpx.get(f"{full}/words/zh").json()["shown"]["Requests"] == "请求"
    assert httpx.get(f"{full}/words/en").json() == {"said": {}, "shown": {}}
    assert httpx.get(f"{full}/words/xx").status_code == 404
