"""Several real instances with one setting: what one has, each can answer, and to its owner only."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from safelight.serving.http import peers
from safelight.serving.http.keys import hashed
from safelight.serving.http.peers import MARK, Peers
from safelight.settings import load
from tests.certificates import pair
from tests.cli.running import started
from tests.reading import page_of
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER
from tests.stack.waiting import eventually, free_ports

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
STRANGER = "127.0.0.9"
KEYS = f"alice={hashed('sl-alice')},bob={hashed('sl-bob')}"
ALICE = {"authorization": "Bearer sl-alice"}
BOB = {"authorization": "Bearer sl-bob"}


class Instances:
    """Two instances at one port of two addresses, and callers from any address."""

    def __init__(self, port: int) -> None:
        self.port = port

    @contextmanager
    def caller(self, instance: str, address: str = STRANGER) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(local_address=address)
        url = f"http://{instance}:{self.port}"
        with httpx.Client(base_url=url, transport=transport, timeout=60) as client:
            yield client

    def ask(self, instance: str, method: str, path: str, **more: Any) -> httpx.Response:
        with self.caller(instance, more.pop("address", STRANGER)) as client:
            return client.request(method, path, **more)

    def edit(self, instance: str, steps: int = 2, **more: Any) -> httpx.Response:
        headers = {"content-type": "image/jpeg", **more.pop("headers", {})}
        asked: dict[str, str | int] = {"instruction": "slowly make him old", "steps": steps}
        return self.ask(
            instance, "POST", "/api/edit", params=asked, content=PICTURE, headers=headers, **more
        )

    def running(self, instance: str, count: int = 1) -> bool:
        with self.caller(instance, STRANGER) as client:
            text = page_of("/metrics", client)
        return f"tests_requests_in_flight {count}.0" in text


@contextmanager
def instances(folder: Path, **settings: str) -> Iterator[Instances]:
    """Run two instances that trust no proxy."""
    [port] = free_ports(1)
    names = ",".join(f"http://{address}:{port}" for address in (FIRST, SECOND))
    chosen = {
        "peers": names,
        "forwarded_allow_ips": "",
        "structure_floor": "0",
        "step_limit": "1000",
        **settings,
    }
    chosen |= {"namespace": "tests", "isolation": "thread"}
    both = Instances(port)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in chosen.items():
            environment.setenv(f"SAFELIGHT_{name.upper()}", value)
        serve = ("serve", PAINTER, "--port", str(port), "--host")
        with (
            started(folder / "first", *serve, FIRST) as first,
            started(folder / "second", *serve, SECOND) as second,
        ):
            for address in (FIRST, SECOND):
                eventually(
                    lambda: is_ready(both, address),  # noqa: B023
                    within=60,
                    what=f"{address} is ready",
                )
            yield both
            for command in (first, second):
                assert command.process.poll() is None, command.err
                assert "Traceback" not in command.err + command.out


def is_ready(both: Instances, address: str) -> bool:
    try:
        return both.ask(address, "GET", "/readyz").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def anonymous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with instances(tmp_path_factory.mktemp("anonymous")) as both:
        yield both


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with instances(tmp_path_factory.mktemp("keyed"), api_keys=KEYS) as both:
        yield both


@pytest.fixture(params=["anonymous", "keyed"])
def both(request: pytest.FixtureRequest) -> tuple[Instances, dict[str, Any], dict[str, Any]]:
    """Return the instances, and what an owner and another caller send."""
    found: Instances = request.getfixturevalue(request.param)
    if request.param == "keyed":
        return found, {"headers": ALICE}, {"headers": BOB}
    return found, {"address": STRANGER}, {"address": "127.0.0.8"}


# ── Every kind of route ──────────────────────────────────────────────────────────────────────────


def test_another_instance_rates_and_deletes_for_the_owner_alone(both: Any) -> None:
    served, owner, other = both
    name = served.edit(FIRST, **owner).headers["x-request-id"]
    path = f"/v1/requests/{name}"
    for instance in (FIRST, SECOND):
        refused = served.ask(instance, "POST", f"{path}/rating", json={"rating": 1}, **other)
        assert (refused.status_code, refused.json()["reason"]) == (404, "not_found")
        assert served.ask(instance, "DELETE", f"{path}/record", **other).status_code == 404
    rated = served.ask(SECOND, "POST", f"{path}/rating", json={"rating": 4}, **owner)
    assert (rated.status_code, rated.json()["changed"]) == (200, False)
    again = served.ask(FIRST, "POST", f"{path}/rating", json={"rating": 5}, **owner)
    assert (again.status_code, again.json()["changed"]) == (200, True)
    gone = served.ask(SECOND, "DELETE", f"{path}/record", **owner)
    assert (gone.status_code, gone.json()["status"]) == (200, "deleted")
    assert served.ask(FIRST, "DELETE", f"{path}/record", **owner).status_code == 404


def test_another_instance_streams_events_and_cancels_for_the_owner_alone(both: Any) -> None:
    served, owner, other = both

    async def scenario() -> None:
        name = str(uuid4())
        head = {"x-request-id": name, **owner.get("headers", {})}
        sent = asyncio.create_task(
            asyncio.to_thread(served.edit, FIRST, 1000, **{**owner, "headers": head})
        )
        await asyncio.to_thread(
            eventually, lambda: served.running(FIRST), within=20, what="the edit runs"
        )
        path = f"/v1/requests/{name}"
        ask = asyncio.to_thread
        watched = await ask(served.ask, SECOND, "GET", f"{path}/events", **other)
        assert watched.status_code == 404
        assert (await ask(served.ask, SECOND, "DELETE", path, **other)).status_code == 404
        assert not sent.done()
        await ask(follow_then_cancel, served, path, owner, sent.done)
        assert (await sent).json()["reason"] == "cancelled"

    asyncio.run(scenario())


def follow_then_cancel(
    served: Instances, path: str, owner: dict[str, Any], ended: Callable[[], bool]
) -> None:
    address, headers = owner.get("address", STRANGER), owner.get("headers", {})
    with (
        served.caller(SECOND, address) as client,
        client.stream("GET", f"{path}/events", headers=headers) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        while "event: step" not in next(lines):
            continue
        assert not ended()  # so the event came before the end of the stream
        cancelled = served.ask(SECOND, "DELETE", path, **owner)
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
        assert "event: done" in list(lines)


def test_another_instance_sends_a_stored_image(both: Any) -> None:
    served, owner, other = both
    made = served.ask(
        FIRST,
        "POST",
        "/v1/images/edits",
        files={"image": PICTURE},
        data={"prompt": "make him old", "steps": "1", "response_format": "url"},
        **owner,
    )
    path = httpx.URL(made.json()["data"][0]["url"]).path
    own, foreign = (served.ask(each, "GET", path, **other) for each in (FIRST, SECOND))
    assert foreign.status_code == 200
    assert foreign.content == own.content
    assert foreign.headers["content-type"] == "image/png"


def test_what_no_instance_has_is_404_everywhere(both: Any) -> None:
    served, owner, _ = both
    name, image = uuid4().hex, "i" * 32
    for method, path in (
        ("GET", f"/v1/requests/{name}/events"),
        ("DELETE", f"/v1/requests/{name}"),
        ("DELETE", f"/v1/requests/{name}/record"),
        ("GET", f"/v1/images/{image}"),
    ):
        answer = served.ask(SECOND, method, path, **owner)
        assert (answer.status_code, answer.json()["reason"]) == (404, "not_found"), path
    path = f"/v1/requests/{name}/rating"
    assert served.ask(SECOND, "POST", path, json={"rating": 4}, **owner).status_code == 404
    assert served.ask(SECOND, "POST", path, content=b"x" * 9000, **owner).status_code == 422
    assert served.ask(SECOND, "GET", "/v1/requests/unknown/nothing", **owner).status_code == 404


# ── Attacks ──────────────────────────────────────────────────────────────────────────────────────


def test_nobody_acts_for_another_caller_by_sending_an_instances_headers(
    anonymous: Instances,
) -> None:
    name = anonymous.edit(FIRST).headers["x-request-id"]
    forged = {MARK: "1", "x-forwarded-for": STRANGER}
    for instance in (FIRST, SECOND):
        for headers in (forged, {"x-forwarded-for": STRANGER}, {MARK: "1"}):
            answer = anonymous.ask(
                instance,
                "POST",
                f"/v1/requests/{name}/rating",
                json={"rating": 1},
                headers=headers,
                address="127.0.0.8",
            )
            expected = 503 if MARK in headers else 404
            assert answer.status_code == expected, (instance, headers)
    path = f"/v1/requests/{name}/rating"
    rated = anonymous.ask(FIRST, "POST", path, json={"rating": 5})
    assert (rated.status_code, rated.json()["changed"]) == (200, False)


def test_with_keys_an_instances_headers_give_no_rights(keyed: Instances) -> None:
    name = keyed.edit(FIRST, headers=ALICE).headers["x-request-id"]
    path = f"/v1/requests/{name}/rating"
    for address in ("127.0.0.8", SECOND):
        forged = {MARK: "1", "x-forwarded-for": STRANGER}
        for headers, status in ((forged, 401), ({**forged, **BOB}, 404)):
            answer = keyed.ask(
                FIRST, "POST", path, json={"rating": 1}, headers=headers, address=address
            )
            assert answer.status_code == status
    rated = keyed.ask(FIRST, "POST", path, json={"rating": 5}, headers=ALICE)
    assert (rated.status_code, rated.json()["changed"]) == (200, False)


def test_a_marked_request_is_not_forwarded_again(keyed: Instances) -> None:
    name = keyed.edit(FIRST, headers=ALICE).headers["x-request-id"]
    answer = keyed.ask(
        SECOND,
        "POST",
        f"/v1/requests/{name}/rating",
        json={"rating": 5},
        headers={**ALICE, MARK: "1"},
    )
    assert answer.status_code == 404


def test_behind_a_proxy_on_an_instances_machine_the_proxys_caller_counts(
    anonymous: Instances,
) -> None:
    # Such a proxy appends its caller's address to what the caller forged.
    name = anonymous.edit(FIRST).headers["x-request-id"]
    answer = anonymous.ask(
        FIRST,
        "POST",
        f"/v1/requests/{name}/rating",
        json={"rating": 1},
        headers={MARK: "1", "x-forwarded-for": f"{STRANGER}, 127.0.0.8"},
        address=SECOND,
    )
    assert answer.status_code == 404


# ── Instances that fail ──────────────────────────────────────────────────────────────────────────

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
UNKNOWN = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
FOUND = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: image/png\r\n\r\nimage"
PATH = f"/v1/images/{'i' * 32}"


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Answer 404, as an instance that does not have it."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"own"})


def replies(content: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()
        writer.close()

    return answer


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the asker leaves
    writer.close()


@asynccontextmanager
async def peer(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Run an instance that answers everything in one way; return its host and port."""
    server = await asyncio.start_server(answer, FIRST, 0, ssl=context)
    async with server:
        yield f"{FIRST}:{server.sockets[0].getsockname()[1]}"


async def asked(
    setting: str, path: str = PATH, *, seconds: float = 0.5, app: Any = nothing, **more: Any
) -> httpx.Response:
    app = Peers(app, load(peers=setting), answer_seconds=seconds, **more)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ((UNKNOWN, UNKNOWN), 404),
        ((UNKNOWN, FOUND), 200),
        ((hang, FOUND), 200),
        ((hang, UNKNOWN), 503),
        ((None, UNKNOWN), 503),
        ((None, FOUND), 200),
        ((b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", UNKNOWN), 503),
        ((b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", FOUND), 200),
        ((b"no HTTP\r\n\r\n", UNKNOWN), 503),
        ((b"HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n", UNKNOWN), 503),
        ((b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", UNKNOWN), 503),
        ((b"HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n", FOUND), 200),
        ((b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n", UNKNOWN), 422),
        ((b"HTTP/1.1 429 Wait\r\ncontent-length: 0\r\nretry-after: 9\r\n\r\n", UNKNOWN), 429),
        ((b"HTTP/1.1 429 Wait\r\ncontent-length: 0\r\nretry-after: 9\r\n\r\n", FOUND), 200),
    ],
)
async def test_the_answer_of_the_instance_that_has_it_wins_and_no_404_is_false(
    answers: Sequence[bytes | Answer | None], status: int
) -> None:
    [closed] = free_ports(1)
    async with asyncio.timeout(10), AsyncExitStack() as stack:
        addresses = [
            await stack.enter_async_context(peer(each if callable(each) else replies(each)))
            if each is not None
            else f"{FIRST}:{closed}"
            for each in answers
        ]
        answer = await asked(",".join(f"http://{address}" for address in addresses))
    assert answer.status_code == status
    if status == 503:
        assert answer.json()["reason"] == "overloaded"
        assert "1 of 2 did not answer. Retry in 5 seconds." in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
    if status == 404:
        assert answer.content == b"own"
    if status == 429:
        assert answer.headers["retry-after"] == "9"


EVENTS = f"/v1/requests/{'0' * 32}/events"


async def test_events_of_another_instance_begin_while_this_one_still_waits() -> None:
    stopped = asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with asyncio.timeout(10), peer(replies(FOUND)) as address:
        answer = await asked(f"http://{address}", EVENTS, seconds=5, app=waits)
        await stopped.wait()
    assert (answer.status_code, answer.content) == (200, b"image")


async def test_events_of_a_request_that_this_instance_receives_late_are_its_own() -> None:
    is_asked, streamed = asyncio.Event(), asyncio.Event()

    async def unknown(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replies(UNKNOWN)(reader, writer)
        is_asked.set()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await is_asked.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"two"})
        streamed.set()

    async with asyncio.timeout(10), peer(unknown) as address, peer(hang) as hanging:
        setting = f"http://{address},http://{hanging}"
        answer = await asked(setting, EVENTS, seconds=5, app=late)
    assert (answer.status_code, answer.content) == (200, b"one two")
    assert streamed.is_set()


async def test_events_that_this_instance_has_ask_nobody() -> None:
    async def has(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"own"})

    async def resolve(name: str, port: int) -> list[str]:
        raise AssertionError("it asks")

    answer = await asked("http://all.example:80", EVENTS, app=has, resolve=resolve)
    assert answer.content == b"own"


async def test_a_name_without_an_address_is_503_and_not_404() -> None:
    async def resolve(name: str, port: int) -> list[str]:
        raise OSError("no such name")

    answer = await asked("http://nowhere.example:80", resolve=resolve)
    assert answer.status_code == 503
    assert "nowhere.example has no address" in answer.json()["detail"]


async def test_more_instances_than_the_limit_are_no_false_404() -> None:
    asks = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asks
        asks += 1
        await replies(UNKNOWN)(reader, writer)

    async def resolve(name: str, port: int) -> list[str]:
        return [f"127.0.1.{place}" for place in range(1, 21)]

    server = await asyncio.start_server(count, "0.0.0.0", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await asked(f"http://many.example:{port}", resolve=resolve)
    assert answer.status_code == 503
    assert "20 instances are more than the limit of 16" in answer.json()["detail"]
    assert asks == 16


async def get(app: Peers, address: str) -> httpx.Response:
    """Ask as the caller at an address."""
    transport = httpx.ASGITransport(app=app, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(PATH)


class Busy:
    """Counts who asks at once, and answers nobody."""

    def __init__(self) -> None:
        self.asks = self.most = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asks += 1
        self.most = max(self.most, self.asks)
        await hang(reader, writer)
        self.asks -= 1


async def test_at_most_eight_requests_ask_at_once_and_the_others_do_not_wait_forever() -> None:
    busy = Busy()
    async with asyncio.timeout(20), peer(busy) as address:
        app = Peers(nothing, load(peers=f"http://{address}"), answer_seconds=0.5)
        answers = await asyncio.gather(*(get(app, f"192.0.2.{n}") for n in range(30)))
    assert {answer.status_code for answer in answers} == {503}
    assert busy.most == 8


async def test_one_caller_holds_few_of_the_slots_and_gives_them_back() -> None:
    busy = Busy()
    async with asyncio.timeout(20), peer(busy) as address:
        app = Peers(nothing, load(peers=f"http://{address}"), answer_seconds=0.5)
        answers = await asyncio.gather(*(get(app, STRANGER) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {503}
    assert busy.most == 2
    assert not app._shares


def test_a_caller_who_asks_for_what_nobody_has_makes_no_other_caller_wait(keyed: Instances) -> None:
    name = keyed.edit(FIRST, headers=ALICE).headers["x-request-id"]
    spellings = [f"{scheme} {' ' * n}sl-bob" for scheme in ("Bearer", "BEARER") for n in range(30)]

    async def scenario() -> None:
        url = f"http://{SECOND}:{keyed.port}/v1/requests"
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits()) as client:

            async def search(spelling: str) -> None:
                while True:
                    sent = {"authorization": spelling}
                    await client.get(f"{url}/{uuid4().hex}/events", headers=sent)

            attack = [asyncio.create_task(search(spelling)) for spelling in spellings]
            for rating in (3, 4, 5) * 3:
                rated = await client.post(
                    f"{url}/{name}/rating", json={"rating": rating}, headers=ALICE, timeout=2
                )
                assert rated.status_code == 200, rated.text
            assert not any(each.done() for each in attack)
            for each in attack:
                each.cancel()
            await asyncio.gather(*attack, return_exceptions=True)

    asyncio.run(scenario())


async def test_a_caller_who_leaves_ends_the_forwarded_request() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: step\n\n")
        await writer.drain()
        await reader.read()
        left.set()
        writer.close()

    async def receive() -> Any:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body") == b"event: step\n\n":
            begun.set()

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": PATH, "headers": []}
    async with asyncio.timeout(10), peer(stream) as address:
        app = Peers(nothing, load(peers=f"http://{address}"), answer_seconds=60)
        await app(scope, receive, send)
        await left.wait()


async def test_an_answer_that_breaks_off_is_not_completed() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": PATH, "headers": []}
    async with asyncio.timeout(10), peer(replies(half)) as address:
        await Peers(nothing, load(peers=f"http://{address}"))(scope, receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": b"half", "more_body": True}


async def test_an_instance_asks_itself_only_once() -> None:
    asks = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asks
        asks += 1
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
        headers = [(name.lower().encode(), value.encode()) for name, value in lines]
        scope = {"type": "http", "method": "GET", "path": PATH, "headers": headers}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await asyncio.Event().wait()

        await app({**scope, "client": (FIRST, 1)}, receive, send)
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n")
        writer.write(
            b"".join(b"%s: %s\r\n" % pair for pair in sent[0]["headers"] if pair[0][0] == 120)
        )
        writer.write(b"\r\n")
        writer.close()

    async with peer(serve) as address:
        app = Peers(nothing, load(peers=f"http://{address}"))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for _ in range(3):
                assert (await client.get(PATH)).content == b"own"
    assert asks == 1


async def test_the_first_of_several_failures_of_an_instance_is_logged() -> None:
    [closed] = free_ports(1)
    app = Peers(nothing, load(peers=f"http://{FIRST}:{closed}"))
    transport = httpx.ASGITransport(app=app)
    with capture_logs() as lines:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for _ in range(3):
                assert (await client.get(PATH)).status_code == 503
    assert [line["event"] for line in lines] == ["instance not reached"]


@pytest.mark.parametrize(("name", "status"), [("localhost", 200), ("other.example", 503)])
async def test_over_https_the_name_of_the_setting_must_be_in_the_certificate(
    name: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pair(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    peers._known_authorities.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    async def resolve(_name: str, port: int) -> list[str]:
        return [FIRST]

    try:
        async with peer(replies(FOUND), context) as address:
            port = address.rpartition(":")[2]
            answer = await asked(f"https://{name}:{port}", resolve=resolve, seconds=5)
    finally:
        peers._known_authorities.cache_clear()
    assert answer.status_code == status


async def test_forwarded_requests_have_few_headers_of_the_caller() -> None:
    heads = list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(FOUND)
        writer.close()

    async with peer(answer) as address:
        app = Peers(nothing, load(peers=f"http://{address}"))
        transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.get(
                PATH,
                headers={
                    b"x-forwarded-for": b"203.0.113.1",
                    b"x-forwarded-prefix": b"/x",
                    b"cookie": b"secret",
                    b"authorization": b"Bearer \xe9",
                },
            )
    text = heads[0].decode("latin-1").lower()
    assert text.count("x-forwarded-for: 192.0.2.7\r\n") == text.count("x-forwarded-for") == 1
    assert "authorization: bearer \xe9\r\n" in text
    assert f"host: {address}\r\n" in text
    assert "cookie" not in text
    assert "prefix" not in text


async def test_a_path_prefix_of_a_proxy_is_not_forwarded() -> None:
    heads = list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(FOUND)
        writer.close()

    async with peer(answer) as address:
        app = Peers(nothing, load(peers=f"http://{address}"))
        transport = httpx.ASGITransport(app=app, root_path="/studio")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get(f"/studio{PATH}")).status_code == 200
    assert heads[0].startswith(f"GET {PATH} HTTP/1.1\r\n".encode())


async def test_names_are_looked_up_again_after_some_seconds() -> None:
    looked = 0

    async def resolve(name: str, port: int) -> list[str]:
        nonlocal looked
        looked += 1
        return [FIRST]

    async with peer(replies(UNKNOWN)) as address:
        port = address.rpartition(":")[2]
        app = Peers(nothing, load(peers=f"http://all.example:{port}"), resolve=resolve)
        app._addresses._clock = lambda: now[0]
        now = [100.0]
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for moment, count in ((100.0, 1), (104.9, 1), (105.1, 2)):
                now[0] = moment
                assert (await client.get(PATH)).status_code == 404
                assert looked == count
