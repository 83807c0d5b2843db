"""Which requests of web pages reach a service, and which are refused."""

import asyncio
from collections.abc import Mapping

import pytest
from starlette.types import Message, Receive, Scope, Send

from safelight.origins import Origins
from safelight.settings import Settings


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def status(settings: Settings, headers: Mapping[str, str], method: str = "POST") -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope: Scope = {"type": "http", "method": method, "headers": raw}
    asyncio.run(Origins.of(answer, settings)(scope, receive, send))
    return int(sent[0]["status"])


LOCAL = Settings.model_construct(host="127.0.0.1")
OPEN = Settings.model_construct(host="0.0.0.0")
NAMED = Settings.model_construct(host="0.0.0.0", allowed_hosts="images.example,photos.example")


@pytest.mark.parametrize(
    ("settings", "host", "expected"),
    [
        (LOCAL, "127.0.0.1:8000", 200),
        (LOCAL, "localhost", 200),
        (LOCAL, "[::1]:8000", 200),
        (LOCAL, "LOCALHOST:8000", 200),
        (LOCAL, "evil.example", 403),
        (LOCAL, "evil.example:8000", 403),
        (LOCAL, "127.0.0.1.evil.example", 403),
        (LOCAL, "localhost@evil.example", 403),
        (OPEN, "evil.example", 200),
        (NAMED, "images.example:443", 200),
        (NAMED, "127.0.0.1:8000", 200),
        (NAMED, "evil.example", 403),
        (LOCAL.model_copy(update={"allowed_hosts": "*"}), "evil.example", 200),
        (LOCAL.model_copy(update={"allowed_hosts": "images.example"}), "images.example", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_cannot_reach_a_local_service_under_a_name_of_its_own(
    settings: Settings, host: str, expected: int, method: str
) -> None:
    assert status(settings, {"host": host}, method) == expected


def test_a_health_check_without_a_host_is_answered() -> None:
    assert status(LOCAL, {}, "GET") == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "https://images.example", "x-forwarded-host": "images.example"}, 200),
        ({"origin": "https://evil.example", "x-forwarded-host": "images.example"}, 403),
        ({"origin": "https://studio.example"}, 200),
    ],
)
def test_a_page_of_another_origin_cannot_send_a_form(
    headers: Mapping[str, str], expected: int
) -> None:
    settings = LOCAL.model_copy(update={"cors_origins": "https://studio.example"})
    own = {"host": "127.0.0.1:8000", **headers}
    assert status(settings, own) == expected
    assert status(settings, own, "DELETE") == expected
    assert status(settings, own, "GET") == 200, "the browser lets no page read it"


def test_all_origins_are_allowed_if_the_settings_say_so() -> None:
    settings = LOCAL.model_copy(update={"cors_origins": "*"})
    headers = {"host": "127.0.0.1:8000", "origin": "https://evil.example"}
    assert status(settings, headers) == 200
