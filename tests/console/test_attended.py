"""One viewer cannot keep the others from their answers, and nothing is asked for who left."""

import asyncio
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from safelight.console.attended import Attended
from safelight.console.panels import is_instant
from safelight.console.sessions import Session
from safelight.dashboards.catalog import boards
from tests.console.acting import KEYS, OPERATING, VIEWING, answering, say, viewer
from tests.console.running import console
from tests.stack.waiting import eventually

LIVE = boards()[0]
PLACE = next(place for place, panel in enumerate(LIVE.panels) if not is_instant(panel))
NOTHING = '{"status": "success", "data": {"resultType": "%s", "result": []}}'


class Slow:
    """A Prometheus that answers no question until it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked = 0

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one question."""
        self.asked += 1
        assert self.may.wait(60)
        kind = "matrix" if "query_range" in handler.path else "vector"
        say(handler, 200, (NOTHING % kind).encode())


def panel(number: int) -> str:
    """Return the address of a curve with an end of its own."""
    end = 1_700_000_000 + 600 * number
    return f"/data/panel?board={LIVE.uid}&panel={PLACE}&end={end}"


@contextmanager
def asking(client: httpx.Client, count: int) -> Iterator[list[socket.socket]]:
    """Ask for so many curves, and leave without an answer."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    where = client.base_url.host, int(client.base_url.port or 0)
    with ExitStack() as stack:
        asked = []
        for number in range(count):
            each = stack.enter_context(socket.create_connection(where, 30))
            head = f"GET {panel(number)} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n\r\n"
            each.sendall(head.encode())
            asked.append(each)
        yield asked


def test_what_viewers_asked_who_left_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", KEYS)
    slow = Slow()
    with (
        answering(slow.respond) as url,
        console(tmp_path, "--prometheus", url) as address,
        viewer(address, VIEWING) as ben,
        viewer(address, OPERATING) as anna,
    ):
        with asking(ben, 41) as asked:
            ready, _, _ = select.select(asked, [], [], 30)
            assert [each.recv(12) for each in ready] == [b"HTTP/1.1 503"]
            eventually(lambda: slow.asked == 4, within=30, what="the first are asked")
            assert anna.get("/data/start").is_success
        eventually(lambda: status(ben) == 200, within=30, what="the console sees that ben left")
        slow.may.set()
        assert anna.get(panel(1000)).is_success
        assert slow.asked < 12  # those of anna's panel come to the four


def status(client: httpx.Client) -> int:
    """Return the status of one question more; 0 if it waits for its turn."""
    try:
        return client.get("/data/names", timeout=1).status_code
    except httpx.TimeoutException:
        return 0


def scope(name: str, path: str = "/data/panel", host: str = "10.0.0.1") -> Scope:
    state = {"session": Session(name, frozenset({"view"}))}
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        "client": (host, 1),
        "state": state,
    }


class Viewer:
    """One connection: what it was sent, and whether the viewer has left."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.statuses: list[int] = []

    async def receive(self) -> Message:
        """Return that the viewer left, when that is so."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take note of the status."""
        if "status" in message:
            self.statuses.append(message["status"])


class App:
    """An application whose answers wait until it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Answer."""
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.may.wait()
        finally:
            self.running -= 1
        await send({"type": "http.response.start", "status": 200})


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_viewer_has_eight_requests_at_a_time_and_forty_in_all() -> None:
    app, one = App(), Viewer()
    attended = Attended(app)
    asked = [asyncio.create_task(attended(scope("ben"), one.receive, one.send)) for _ in range(41)]
    await settle()
    assert app.running == 8
    assert one.statuses == [503]
    other = Viewer()
    for who in (scope("anna"), scope("ben", host="10.0.0.2"), scope("ben", "/data/live")):
        asked.append(asyncio.create_task(attended(who, other.receive, other.send)))
    await settle()
    assert app.running == 11
    app.may.set()
    await asyncio.gather(*asked)
    assert other.statuses == [200] * 3
    assert one.statuses == [503] + [200] * 40
    assert app.most == 11
    assert not attended._viewers


async def test_the_request_of_a_viewer_who_left_ends() -> None:
    app, one = App(), Viewer()
    attended = Attended(app)
    asked = asyncio.create_task(attended(scope("ben"), one.receive, one.send))
    await settle()
    assert app.running == 1
    one.left.set()
    await asked
    await settle()
    assert (app.running, one.statuses) == (0, [])
    assert not attended._viewers
