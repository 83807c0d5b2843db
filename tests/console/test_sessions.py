"""Sessions of the console, with a clock that the test turns."""

import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from safelight.console.sessions import ANYONE, Sessions
from safelight.errors import Forbidden, Unauthorized
from safelight.serving.http.keys import Key, Keys, hashed
from safelight.stories.replay import free_port
from tests.cli.running import started
from tests.console.acting import KEYS, OPERATING, VIEWING, viewer
from tests.console.browsing import SLOW, opened
from tests.console.conftest import NOWHERE
from tests.console.running import console
from tests.console.test_try import log_in
from tests.reading import FakeClock

HOUR = 3600.0
ANNA = Key("anna", hashed("sl-anna"), frozenset({"view"}))
BEN = Key("ben", hashed("sl-ben"), frozenset({"view"}))
SENDER = Key("sender", hashed("sl-sender"), frozenset({"infer"}))


def test_a_session_ends_after_twelve_hours_without_a_request() -> None:
    clock = FakeClock()
    sessions = Sessions(Keys(lambda: (ANNA,)), clock)
    token = sessions.begin("sl-anna")
    for _ in range(3):
        clock.now += 11 * HOUR
        assert sessions.find(token).name == "anna"
    clock.now += 12 * HOUR + 1
    with pytest.raises(Unauthorized):
        sessions.find(token)


def test_a_session_ends_when_its_key_is_removed() -> None:
    valid = [ANNA]
    sessions = Sessions(Keys(lambda: tuple(valid)))
    token = sessions.begin("sl-anna")
    valid.clear()
    with pytest.raises(Unauthorized):
        sessions.find(token)
    valid.append(ANNA)
    with pytest.raises(Unauthorized):  # a key that comes back brings no session back
        sessions.find(token)


@pytest.mark.parametrize(
    ("key", "error"), [("sl-nobody", Unauthorized), ("", Unauthorized), ("sl-sender", Forbidden)]
)
def test_only_a_key_that_may_look_begins_a_session(key: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Sessions(Keys(lambda: (ANNA, SENDER))).begin(key)


def test_logins_with_one_key_end_no_session_of_another_key() -> None:
    sessions = Sessions(Keys(lambda: (ANNA, BEN)))
    anna = sessions.begin("sl-anna")
    first, second, *others = [sessions.begin("sl-ben") for _ in range(40)]
    sessions.find(first)  # so the second was not used for longest
    others += [sessions.begin("sl-ben")]
    assert {sessions.find(token).name for token in (first, *others)} == {"ben"}
    with pytest.raises(Unauthorized):
        sessions.find(second)
    for _ in range(1001):
        sessions.begin("sl-ben")
    assert sessions.find(anna).name == "anna"


def test_of_more_than_a_thousand_sessions_the_one_not_used_for_longest_ends() -> None:
    many = [Key(f"k{n}", hashed(f"sl-{n}"), frozenset({"view"})) for n in range(26)]
    sessions = Sessions(Keys(lambda: tuple(many)))
    used, unused, *_ = [sessions.begin(f"sl-{n % 25}") for n in range(1000)]
    sessions.find(used)
    sessions.begin("sl-25")
    assert sessions.find(used).name == "k0"
    with pytest.raises(Unauthorized):
        sessions.find(unused)


def test_without_keys_everyone_may_do_everything() -> None:
    assert Sessions(None).find("") is ANYONE
    ANYONE.require("operate")


def test_to_ask_whether_a_session_lasts_is_no_use_of_it() -> None:
    clock, valid = FakeClock(), [ANNA]
    sessions = Sessions(Keys(lambda: tuple(valid)), clock)
    token = sessions.begin("sl-anna")
    clock.now += 12 * HOUR - 1
    assert sessions.lasts(token)
    clock.now += 2
    assert not sessions.lasts(token)
    token = sessions.begin("sl-anna")
    valid.clear()
    assert not sessions.lasts(token)
    assert not sessions.lasts("nothing")
    assert Sessions(None).lasts("")


def test_two_consoles_of_one_machine_have_cookies_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    with (
        console(tmp_path / "one") as one,
        console(tmp_path / "two") as two,
        httpx.Client() as browser,  # sends cookies to all ports of a host, as browsers do
    ):
        for url in (one, two):
            browser.post(f"{url}/data/session", content=VIEWING).raise_for_status()
        for url in (one, two):
            assert browser.get(f"{url}/data/start").is_success
        browser.delete(f"{two}/data/session")
        assert browser.get(f"{two}/data/start").status_code == 401
        assert browser.get(f"{one}/data/start").is_success


def test_the_stream_of_a_session_that_ends_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    with (
        console(tmp_path, "--prometheus", NOWHERE) as url,
        viewer(url, VIEWING) as client,
        client.stream("GET", "/data/live") as stream,
    ):
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data: "))
        httpx.delete(f"{url}/data/session", cookies=dict(client.cookies))
        began = time.monotonic()
        assert len(list(lines)) < 10  # it ends
        assert time.monotonic() - began < 60


def test_now_asks_to_log_in_when_its_session_ended_and_goes_on(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    with (
        console(tmp_path, "--prometheus", NOWHERE) as url,
        opened(chromium, url, expected="Failed to load resource") as page,
    ):
        page.goto("/")
        log_in(page, VIEWING)
        expect(page.get_by_text("Prometheus does not answer")).to_be_visible()
        page.request.delete("/data/session")
        log_in(page, VIEWING)
        with page.expect_response("**/data/live", timeout=SLOW) as again:
            pass
        assert again.value.ok


def test_escape_does_not_end_the_login_and_another_person_gets_a_page_of_their_own(
    chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    with (
        console(tmp_path, "--prometheus", NOWHERE, "--service", NOWHERE) as url,
        opened(chromium, url, expected="Failed to load resource") as page,
    ):
        page.goto("/act")
        for _ in range(3):
            page.keyboard.press("Escape")
        log_in(page, OPERATING)
        expect(page.get_by_role("button", name="Reload limits")).to_be_enabled(timeout=SLOW)
        page.request.delete("/data/session")
        page.keyboard.press("Escape")  # the page notices it by itself
        log_in(page, VIEWING)
        expect(page.get_by_role("button", name="Reload limits")).to_be_disabled(timeout=SLOW)
        expect(page.get_by_text("operator")).to_have_count(1)  # in "ask an operator"


@pytest.mark.parametrize(
    ("keys", "service", "is_warned"),
    [
        (KEYS, "http://10.0.0.8:8000", True),
        (KEYS, "https://10.0.0.8:8000", False),
        (KEYS, "http://127.0.0.1:8000", False),
        (KEYS, "http://localhost:8000", False),
        ("", "http://10.0.0.8:8000", False),
    ],
)
def test_keys_over_plain_http_to_another_machine_are_warned_of(
    tmp_path: Path, keys: str, service: str, is_warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", keys)
    with started(tmp_path, "console", "--service", service, "--port", str(free_port())) as command:
        command.wait_for_output("console: http://127.0.0.1")
        said = command.err
    count = said.count("API keys are sent without encryption to http://10.0.0.8:8000.")
    assert count == int(is_warned)
