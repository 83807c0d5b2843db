"""A service has one name on all pages, and two of the same name are told apart."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.console.acting import answering, say
from tests.console.browsing import SLOW, opened
from tests.console.conftest import NOWHERE
from tests.console.running import console
from tests.serving.conftest import RealService
from tests.stack.waiting import eventually

REFUSED = "Failed to load resource"


def serves(**model: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a way to answer as a service that only says what it serves."""
    content = json.dumps({"data": [{"id": "a-model", **model}]}).encode()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        say(handler, 200 if handler.path == "/v1/models" else 404, content)

    return respond


def short(url: str) -> str:
    return url.removeprefix("http://")


def test_a_service_is_called_by_its_namespace_or_its_model(tmp_path: Path) -> None:
    with (
        answering(serves(namespace="portraits")) as one,
        answering(serves()) as older,
        answering(lambda handler: say(handler, 200, b"[1]")) as strange,
        console(tmp_path, "--service", one, "--service", older, "--service", strange) as url,
    ):
        assert httpx.get(f"{url}/data/names").json() == ["portraits", "a-model", ""]


def test_a_service_that_comes_later_gets_its_name_and_keeps_it_when_it_goes(tmp_path: Path) -> None:
    with answering(serves(namespace="portraits")) as probe:
        port = int(probe.rpartition(":")[2])
    with console(tmp_path, "--service", f"http://127.0.0.1:{port}") as url:

        def names() -> list[str]:
            return list(httpx.get(f"{url}/data/names", timeout=30).json())

        assert names() == [""]
        with answering(serves(namespace="portraits"), port):
            eventually(lambda: names() == ["portraits"], within=30, what="it has its name")
        assert names() == ["portraits"]


def test_try_and_act_have_the_name_and_keep_two_of_the_same_name_apart(
    chromium: Browser, service: RealService, tmp_path: Path
) -> None:
    with (
        answering(serves(namespace="instructpix2pix")) as other,
        console(
            tmp_path, "--prometheus", NOWHERE, "--service", service.url, "--service", other
        ) as url,
        opened(chromium, url, expected=REFUSED) as page,
    ):
        page.goto("/try")
        options = page.get_by_label("Service").locator("option")
        wanted = [f"instructpix2pix · {short(each)}" for each in (service.url, other)]
        expect(options).to_have_text(wanted, timeout=SLOW)
        expect(options.first).to_have_attribute("title", service.url)
        page.goto("/act")
        cards = page.locator(".act-card h2")
        names = ["instructpix2pix", "instructpix2pix", "This console"]
        expect(cards).to_have_text(names, timeout=SLOW)
        card = page.get_by_role("region", name=f"instructpix2pix, {short(service.url)}")
        card.get_by_role("button", name="Drain").click()
        expect(page.get_by_role("dialog")).to_contain_text(f"Drain: {wanted[0]}")


def test_one_service_has_its_name_alone(chromium: Browser, served_address: str) -> None:
    with opened(chromium, served_address, expected=REFUSED) as page:
        page.goto("/try")
        state = page.locator(".head .clock")
        expect(state).to_have_text("instructpix2pix · demo-edit", timeout=SLOW)


def test_now_has_the_same_name(chromium: Browser, address: str) -> None:
    with opened(chromium, address, expected=REFUSED) as page:
        page.goto("/")
        heading = page.locator(".service h2").first
        expect(heading).to_have_text("instructpix2pix", timeout=SLOW)
