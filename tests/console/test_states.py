"""What a service is asked for the page Act, however many look at it."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from safelight.stories.replay import free_port
from tests.console.acting import KEYS, OPERATING, OTHER, VIEWING, answering, say, viewer
from tests.console.running import console
from tests.stack.waiting import eventually

NO_SECOND = json.dumps({"detail": "This service has no second model."}).encode()
SECOND = ("/v1/shadow", "/v1/rollout")


def counting(asked: Counter[str]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a way to answer as a service without a second model, which counts."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        asked[handler.path] += 1
        if handler.path in SECOND:
            say(handler, 409, NO_SECOND)
        else:
            say(handler, 200, json.dumps({"draining": asked["/v1/drain"] > 1}).encode())

    return respond


def test_viewers_share_a_reading_and_an_action_is_seen_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    asked: Counter[str] = Counter()
    options = ("--state-folder", str(tmp_path / "state"))
    with (
        answering(counting(asked)) as service,
        console(tmp_path, "--service", service, *options) as url,
        viewer(url, OPERATING) as anna,
        ThreadPoolExecutor(8) as pool,
    ):

        def state(_: int = 0) -> dict[str, object]:
            return dict(anna.get("/data/state", params={"service": 0}).json())

        answers = list(pool.map(state, range(8)))
        assert all(answer == answers[0] for answer in answers)
        assert asked["/readyz"] == 1
        action = {"action": "end_drain", "service": 0, "parameters": {}}
        assert anna.post("/data/actions", json=action).is_success
        state()
        assert asked["/readyz"] == 2


def test_viewers_with_other_scopes_have_readings_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    asked: Counter[str] = Counter()
    with answering(counting(asked)) as service, console(tmp_path, "--service", service) as url:
        for key in (OPERATING, OTHER, VIEWING):
            with viewer(url, key) as client:
                client.get("/data/state", params={"service": 0}).raise_for_status()
        assert asked["/readyz"] == 3


def test_a_service_without_a_second_model_is_not_asked_for_it_again_and_again(
    tmp_path: Path,
) -> None:
    asked: Counter[str] = Counter()
    with answering(counting(asked)) as service, console(tmp_path, "--service", service) as url:

        def is_read_again() -> bool:
            answer = httpx.get(f"{url}/data/state", params={"service": 0}, timeout=30).json()
            assert answer["missing"]["rollout"] == "This service has no second model."
            assert answer["missing"]["shadow"] == "This service has no second model."
            return asked["/readyz"] >= 3

        eventually(is_read_again, within=30, what="three readings")
    assert sum(asked[path] for path in SECOND) == 1


def test_a_service_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    services = ("--service", f"http://127.0.0.1:{free_port()}")
    with console(tmp_path, *services, *services) as url:
        for number, words in ((7, "There is no service 7: this console has 0 to 1."),):
            answer = httpx.get(f"{url}/data/state", params={"service": number})
            assert answer.status_code == 404
            assert words in answer.json()["detail"]
            answer = httpx.get(f"{url}/service/{number}/v1/models")
            assert answer.status_code == 404
            assert words in answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused_without_a_word_of_images(tmp_path: Path) -> None:
    with console(tmp_path) as url:
        answer = httpx.post(f"{url}/data/actions", content=b" " * 70_000)
    assert answer.status_code == 413
    assert answer.json()["detail"] == (
        "The body is larger than the limit of 65536 bytes. Send less at once."
    )
