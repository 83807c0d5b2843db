"""The page Try in Debian's Chromium, beside real services."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from safelight.models.demo.clutter import CLUTTER
from safelight.models.demo.painter import paint
from safelight.models.demo.portrait import draw
from safelight.serving.http.keys import hashed
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port
from tests.console.browsing import SLOW, opened
from tests.console.conftest import NOWHERE
from tests.console.running import console
from tests.serving.conftest import RealService, serving
from tests.stack.waiting import eventually

PAINTER = "tests.serving.models:painter"
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
KEY, LOOKING = "sl-trying-key", "sl-looking-key"
REFUSED = "Failed to load resource"  # Chromium's complaint about each status of 400 or more
MB = 1024 * 1024


@pytest.fixture
def page(chromium: Browser, served_address: str) -> Iterator[Page]:
    # A record is not there at once: the page asks again.
    with opened(chromium, served_address, expected=REFUSED) as page:
        page.goto("/try")
        yield page


@pytest.fixture(scope="module")
def slow_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a model whose steps last if told so, and a console beside it."""
    folder = tmp_path_factory.mktemp("slow")
    with (
        serving(folder / "service", PAINTER, records_url="") as service,
        console(folder / "console", "--prometheus", NOWHERE, "--service", service.url) as url,
    ):
        yield url


@pytest.fixture
def slow(chromium: Browser, slow_address: str) -> Iterator[Page]:
    with opened(chromium, slow_address, expected=REFUSED) as page:
        page.goto("/try")
        yield page


def portrait(
    name: str = "photo.jpg", content: bytes | None = None, kind: str = "image/jpeg"
) -> FilePayload:
    content = photo(64, 64) if content is None else content
    return {"name": name, "mimeType": kind, "buffer": content}


def ask(page: Page, instruction: str, **values: str) -> None:
    """Fill the form and send it."""
    page.get_by_label("Instruction").fill(instruction)
    for label, value in values.items():
        page.get_by_role("spinbutton", name=label.replace("_", " "), exact=True).fill(value)
    page.get_by_role("button", name="Edit", exact=True).click()


def after(page: Page) -> Locator:
    """Return the image that was made, not a preview of it."""
    return page.locator(".try-cell[data-state=done] img.after").first


def named(service: RealService) -> str:
    """Return what the console calls a service."""
    [model] = service.client.get("/v1/models").json()["data"]
    return str(model["namespace"])


def request_id(page: Page) -> str:
    link = page.get_by_role("link", name="Everything about this request")
    expect(link).to_be_visible(timeout=SLOW)
    return str(link.get_attribute("href")).rpartition("/")[2]


# ── One request ──────────────────────────────────────────────────────────────────────────────────


def test_a_portrait_is_edited_compared_explained_and_rated(page: Page, served_address: str) -> None:
    page.get_by_role("button", name="Use a sample portrait").click()
    expect(page.get_by_text(re.compile("512 . 512 pixels, edited at"))).to_be_visible()
    ask(page, "make him old", Steps="6")
    expect(after(page)).to_be_visible(timeout=SLOW)
    slider = page.get_by_role("slider", name="Before and after")
    expect(slider).to_be_enabled()
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_value("0")
    shown = "getComputedStyle(document.querySelector('img.after')).clipPath"
    assert page.evaluate(shown) == "inset(0px 0px 0px 0%)"
    page.keyboard.press("End")
    assert page.evaluate(shown) == "inset(0px 0px 0px 100%)"

    why = page.get_by_role("region", name=re.compile("^Why did this take"))
    expect(why.get_by_role("row", name=re.compile("^denoise"))).to_be_visible()
    expect(why.get_by_text(re.compile("^6 steps, .* each"))).to_be_visible()
    name = request_id(page)
    page.get_by_role("button", name="4", exact=True).click()
    expect(page.get_by_text("Rated 4 of 5.")).to_be_visible()
    page.get_by_label("Because").select_option("identity_lost")
    expect(page.get_by_label("Because")).to_have_value("identity_lost")

    def rated() -> bool:
        record = httpx.get(f"{served_address}/data/requests/{name}").json()["record"]
        return (record.get("rating"), record.get("rating_reason")) == (4, "identity_lost")

    eventually(rated, within=20, what="the record has the rating")
    why.get_by_role("link", name="Everything about this request").click()
    expect(page).to_have_url(re.compile(f"/requests/{name}$"))
    page.go_back()
    expect(after(page)).to_be_visible()
    expect(page.get_by_label("Instruction")).to_have_value("make him old")


def test_the_seed_can_be_used_again(page: Page) -> None:
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    ask(page, "add sunglasses", Steps="2")
    expect(after(page)).to_be_visible(timeout=SLOW)
    first = after(page).get_attribute("src")
    page.get_by_role("button", name="Use this seed again").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value(re.compile(r"^\d+$"))
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(page.get_by_role("button", name="Use this seed again")).to_be_visible(timeout=SLOW)
    assert after(page).get_attribute("src") == first


def test_usual_times_are_beside_those_of_a_request_once_there_are_some(
    page: Page, service: RealService
) -> None:
    for seed in range(6):
        assert service.edit(instruction="add a hat", steps=2, seed=seed).is_success
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    ask(page, "add a hat", Steps="3")
    why = page.get_by_role("region", name=re.compile("^Why did this take"))
    expect(why.get_by_text("The mark is the median")).to_be_visible(timeout=SLOW)
    expect(why.get_by_text(re.compile("each (.median.|on average); usually "))).to_be_visible()


def test_steps_are_counted_and_a_request_is_cancelled(slow: Page) -> None:
    slow.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    ask(slow, "slowly make him old", Steps="100")
    expect(slow.get_by_text(re.compile(r"^Step \d+ of 100"))).to_be_visible(timeout=SLOW)
    slow.get_by_role("button", name="Cancel").click()
    expect(slow.locator(".try-progress").get_by_text("Cancelled")).to_be_visible(timeout=SLOW)
    expect(slow.get_by_role("button", name="Edit", exact=True)).to_be_visible()
    expect(slow.get_by_label("Instruction")).to_have_value("slowly make him old")


def test_the_place_in_the_queue_is_told(slow: Page, chromium: Browser, slow_address: str) -> None:
    with opened(chromium, slow_address, expected=REFUSED) as other:
        other.goto("/try")
        for page in (other, slow):
            page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
            expect(page.get_by_role("button", name="Another sample")).to_be_visible(timeout=SLOW)
        ask(slow, "slowly make him old", Steps="100")
        expect(slow.get_by_text(re.compile(r"^Step \d+ of 100"))).to_be_visible(timeout=SLOW)
        ask(other, "slowly make him old", Steps="99")
        waiting = other.locator(".try-progress").get_by_text("Next in the queue")
        expect(waiting).to_be_visible(timeout=SLOW)
        other.get_by_role("button", name="Cancel").click()
        expect(other.locator(".try-progress").get_by_text("Cancelled")).to_be_visible(timeout=SLOW)


def test_nothing_moves_while_a_request_runs(slow: Page) -> None:
    slow.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    frame = slow.locator(".try-frame")
    expect(frame.locator("img.before")).to_be_visible()
    chosen = frame.bounding_box()
    ask(slow, "slowly make him old", Steps="40")
    expect(slow.get_by_text(re.compile(r"^Step \d+ of 40"))).to_be_visible(timeout=SLOW)
    running = frame.bounding_box()
    expect(after(slow)).to_be_visible(timeout=SLOW)
    assert chosen == running == frame.bounding_box()


def test_advice_comes_before_the_edit_and_can_be_followed(page: Page) -> None:
    image = BytesIO()
    paint(draw(3), CLUTTER["confetti"]).save(image, "PNG")
    busy = portrait("busy.png", image.getvalue(), "image/png")
    page.get_by_label("Choose an image", exact=True).set_input_files(busy)
    expect(page.get_by_text("The background is busy")).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Use this instruction").click()
    expect(page.get_by_label("Instruction")).to_have_value("remove background")


# ── Variants ─────────────────────────────────────────────────────────────────────────────────────


def test_variants_differ_in_one_parameter_and_share_the_seed(page: Page) -> None:
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    page.get_by_label("Compare").select_option(label="steps")
    for place, steps in enumerate(("1", "2", "3", "")):
        page.get_by_label(f"Variant {place + 1}").fill(steps)
    ask(page, "make him old")
    seeds = []
    for steps in ("1", "2", "3"):
        variant = page.get_by_role("button", name=re.compile(f"^Steps {steps}"))
        expect(variant).to_contain_text("s", timeout=SLOW)
        expect(variant).to_contain_text(re.compile(r"\d m?s$"), timeout=SLOW)
        variant.click()
        expect(variant).to_have_attribute("aria-pressed", "true")
        seeds.append(page.locator(".try-result .mono").inner_text())
    assert len(set(seeds)) == 1
    images = {image.get_attribute("src") for image in page.locator("img.after").all()}
    assert len(images) == 3


# ── The same request elsewhere ───────────────────────────────────────────────────────────────────


def test_the_same_request_elsewhere_makes_the_same_image(page: Page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo(64, 64))
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    ask(page, 'don\'t "make" $HIM `old`', Steps="2")
    expect(after(page)).to_be_visible(timeout=SLOW)
    shown = base64.b64decode(str(after(page).get_attribute("src")).partition(",")[2])
    for name in ("curl", "httpx", "openai"):
        page.get_by_role("tab", name=name).click()
        text = page.get_by_role("tabpanel").inner_text()
        program = ["bash", "-c", text] if name == "curl" else [sys.executable, "-c", text]
        subprocess.run(program, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        made = tmp_path / "image.png"
        assert made.read_bytes() == shown, name
        made.unlink()


# ── Bad input ────────────────────────────────────────────────────────────────────────────────────


def test_texts_of_callers_never_become_html(page: Page) -> None:
    image, exif = BytesIO(), Image.Exif()
    exif[0x010E] = EVIL  # the description
    with Image.open(BytesIO(photo(64, 64))) as plain:
        plain.save(image, "JPEG", exif=exif)
    hostile = portrait(f"{EVIL.replace('/', '')}.jpg", image.getvalue())
    page.get_by_label("Choose an image", exact=True).set_input_files(hostile)
    ask(page, EVIL, Steps="1")
    expect(page.get_by_role("tabpanel")).to_contain_text("onerror", timeout=SLOW)
    request_id(page)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(
    ("label", "value", "says"),
    [
        ("Steps", "0", "Steps must be from 1 to 100."),
        ("Steps", "2.5", "Steps must be a whole number from 1 to 100."),
        ("Steps", "", "Steps needs a number from 1 to 100."),
        ("Guidance", "31", "Guidance must be from 0 to 30."),
        ("Seed", "4294967296", "Seed must be from 0 to 4294967295."),
    ],
)
def test_a_wrong_value_is_refused_in_words(page: Page, label: str, value: str, says: str) -> None:
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    ask(page, "make him old", **{label: value})
    expect(page.get_by_text(says)).to_be_visible()
    expect(page.get_by_role("spinbutton", name=label, exact=True)).to_be_focused()
    assert not [url for url in sent if url.endswith("/api/edit")]


def test_an_edit_needs_an_image_and_an_instruction(page: Page) -> None:
    ask(page, "")
    expect(page.get_by_text("the instruction is empty")).to_be_visible()
    ask(page, "make him old")
    expect(page.get_by_text("Choose an image first")).to_be_visible()


def test_a_file_over_the_limit_is_not_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.post_data else None)
    large = portrait(content=photo(64, 64) + bytes(25 * MB))
    page.get_by_label("Choose an image", exact=True).set_input_files(large)
    expect(page.get_by_text("has 25 MiB; the limit is 20 MiB")).to_be_visible()
    assert sent == []


def test_a_file_that_is_no_image_is_refused_in_the_services_words(page: Page) -> None:
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait(content=b"GIF or so"))
    expect(page.get_by_text("The image is not in a known format")).to_be_visible()
    expect(page.get_by_role("button", name="Use a sample portrait")).to_be_visible()


# ── Services that come and go, and sessions that end ─────────────────────────────────────────────


def test_a_service_that_stops_is_said_and_the_page_goes_on_when_it_is_back(
    chromium: Browser, tmp_path: Path
) -> None:
    port = free_port()
    where = ("--prometheus", NOWHERE, "--service", f"http://127.0.0.1:{port}")
    with (
        console(tmp_path / "console", *where) as url,
        opened(chromium, url, expected=REFUSED) as page,
    ):
        page.goto("/try")
        notice = page.get_by_text(re.compile("does not answer. Is it running.*again by itself"))
        expect(notice).to_be_visible()
        with serving(tmp_path / "first", PAINTER, port=str(port), records_url=""):
            expect(page.get_by_label("Instruction")).to_be_visible(timeout=SLOW)
            expect(notice).to_be_hidden()
            page.get_by_label("Instruction").fill("make him old")
        expect(notice).to_be_visible(timeout=SLOW)
        button = page.get_by_role("button", name="Edit", exact=True)
        expect(button).to_be_disabled()
        with serving(tmp_path / "second", PAINTER, port=str(port), records_url=""):
            expect(button).to_be_enabled(timeout=SLOW)
            expect(page.get_by_label("Instruction")).to_have_value("make him old")


def test_a_request_to_a_service_that_hangs_can_be_given_up(
    chromium: Browser, tmp_path: Path
) -> None:
    with (
        serving(tmp_path / "service", PAINTER, records_url="") as service,
        console(tmp_path / "c", "--prometheus", NOWHERE, "--service", service.url) as url,
        opened(chromium, url, expected=REFUSED) as page,
    ):
        page.goto("/try")
        page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
        expect(page.get_by_text(re.compile("64 . 64 pixels"))).to_be_visible(timeout=SLOW)
        psutil.Process(service.pid).suspend()
        try:
            ask(page, "make him old")
            expect(page.locator(".try-progress").get_by_text("Sent")).to_be_visible()
            page.get_by_role("button", name="Cancel").click()
            given_up = page.locator(".try-progress").get_by_text("Cancelled")
            expect(given_up).to_be_visible(timeout=SLOW)
        finally:
            psutil.Process(service.pid).resume()


def test_a_session_that_ends_loses_nothing_that_was_typed(
    chromium: Browser, tmp_path: Path
) -> None:
    keys = f"anna:view+infer={hashed(KEY)},ben:view={hashed(LOOKING)}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELIGHT_API_KEYS", keys)
        with (
            serving(tmp_path / "service", PAINTER, records_url="", api_keys=keys) as service,
            console(tmp_path / "c", "--prometheus", NOWHERE, "--service", service.url) as url,
            opened(chromium, url, expected=REFUSED) as page,
        ):
            page.goto("/try")
            log_in(page, KEY)
            page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
            page.get_by_label("Instruction").fill("make him old")
            page.request.delete("/data/session")
            page.get_by_role("button", name="Edit", exact=True).click()
            log_in(page, KEY)
            expect(after(page)).to_be_visible(timeout=SLOW)
            expect(page.get_by_label("Instruction")).to_have_value("make him old")
            expect(page.get_by_role("tabpanel")).to_contain_text("Bearer $SAFELIGHT_KEY")
            expect(page.get_by_role("button", name="1, bad")).to_be_disabled()
            page.request.delete("/data/session")
            page.reload()
            log_in(page, LOOKING)
            expect(page.get_by_role("button", name="Edit", exact=True)).to_be_disabled()


def log_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


# ── Other tasks ──────────────────────────────────────────────────────────────────────────────────


def test_a_prompt_becomes_an_image_and_an_image_becomes_labels(
    chromium: Browser, tmp_path: Path
) -> None:
    with (
        serving(tmp_path / "making", "demo-generate", records_url="") as making,
        serving(tmp_path / "seeing", "demo-recognize", records_url="") as seeing,
        console(
            tmp_path / "console",
            "--prometheus",
            NOWHERE,
            "--service",
            making.url,
            "--service",
            seeing.url,
        ) as url,
        opened(chromium, url, expected=REFUSED) as page,
    ):
        page.goto("/try")
        page.get_by_label("Prompt").fill("an old person with a hat")
        page.get_by_role("button", name="Generate").click()
        expect(after(page)).to_be_visible(timeout=SLOW)
        page.get_by_label("Service").select_option(label=named(seeing))
        page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
        page.get_by_role("button", name="Recognise").click()
        rows = page.get_by_role("table", name="Labels with their scores").get_by_role("row")
        expect(rows).to_have_count(5, timeout=SLOW)
        expect(rows.first).to_contain_text("%")
        page.get_by_label("Service").select_option(label=named(making))
        expect(page.get_by_label("Prompt")).to_have_value("an old person with a hat")


def test_the_page_fits_a_small_telephone(chromium: Browser, served_address: str) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 800}, base_url=served_address)
    page = context.new_page()
    page.goto("/try")
    page.get_by_label("Choose an image", exact=True).set_input_files(portrait())
    ask(page, "make him old", Steps="2")
    expect(after(page)).to_be_visible(timeout=SLOW)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    expect(page.get_by_label("Instruction")).to_be_visible(timeout=SLOW)
    page.locator("main").focus()
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.textContent || document.activeElement.name")
        )
    assert {
        "Choose an image",
        "Use a sample portrait",
        "instruction",
        "steps",
        "seed",
        "Edit",
    } <= set(seen)
