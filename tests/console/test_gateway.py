"""The way from pages to a real service: its routes and no others, with the viewer's key."""

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from safelight.console import gateway
from safelight.console.gateway import ROUTES
from safelight.console.sessions import ANYONE
from safelight.errors import MalformedBody, Overloaded
from safelight.serving.http.keys import hashed
from safelight.serving.http.scopes import ACCEPTED
from safelight.stack.tools.samples import photo
from safelight.stories.replay import free_port
from tests.console.running import console
from tests.serving.conftest import RealService, serving
from tests.stack.waiting import eventually

SENDING, VIEWING = "sl-sending-key", "sl-viewing-key"
KEYS = f"anna:view+infer={hashed(SENDING)},ben:view={hashed(VIEWING)}"
JPEG = {"content-type": "image/jpeg"}
LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, "tests.serving.models:painter", records_url="", api_keys=KEYS) as service:
        yield service


@pytest.fixture(scope="module")
def address(service: RealService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a console with the keys of the service."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SAFELIGHT_API_KEYS", KEYS)
        environment.setenv("SAFELIGHT_BODY_LIMIT_BYTES", str(LIMIT))
        nobody = f"http://127.0.0.1:{free_port()}"
        folder = tmp_path_factory.mktemp("console")
        with console(folder, "--service", service.url, "--service", nobody) as url:
            yield url


@pytest.fixture
def anna(address: str) -> Iterator[httpx.Client]:
    """Return a viewer who may send requests."""
    with httpx.Client(base_url=address, timeout=60) as client:
        client.post("/data/session", content=SENDING).raise_for_status()
        yield client


def test_the_routes_of_a_service_are_forwarded_and_its_pages_are_not() -> None:
    assert set(ROUTES) - {"GET /v1/images/{name}"} <= ACCEPTED.keys()
    assert {"GET /docs", "GET /metrics"}.isdisjoint(ROUTES)


def test_an_edit_is_made_with_the_viewers_key(anna: httpx.Client) -> None:
    assert anna.get("/service/0/v1/models").json()["data"]
    name = "5c1f09aa27de4b1c8d3f0a6b7c8d9e0f"
    answer = anna.post(
        "/service/0/api/edit",
        params={"instruction": "make & model = 100 % old?", "steps": 2},
        content=photo(64, 64),
        headers={**JPEG, "x-request-id": name},
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("image/")
    assert answer.headers["x-request-id"] == name
    assert answer.headers["cache-control"] == "no-store"


def test_a_mistake_keeps_the_services_words(anna: httpx.Client) -> None:
    answer = anna.post("/service/0/api/edit", params={"instruction": "x"}, content=b"x")
    assert answer.status_code == 415
    assert answer.json()["reason"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/service/0/metrics", 404),
        ("/service/0/docs", 404),
        ("/service/0/nothing", 404),
        ("/service/9/v1/models", 404),
        ("/service/x/v1/models", 404),
        ("/service/-1/v1/models", 404),
        ("/service/%C2%B2/v1/models", 404),
        (f"/service/{'1' * 5000}/v1/models", 404),
        ("/service/0/v1/requests/%2E%2E/events", 404),
        ("/service/0/v1/images/%2E%2E", 404),
    ],
)
def test_nothing_else_of_a_service_is_reached(anna: httpx.Client, path: str, status: int) -> None:
    assert anna.get(path).status_code == status


def test_a_key_without_the_scope_is_refused_before_the_service_is_asked(address: str) -> None:
    with httpx.Client(base_url=address, timeout=60) as ben:
        ben.post("/data/session", content=VIEWING).raise_for_status()
        answer = ben.post("/service/0/api/edit", content=photo(64, 64), headers=JPEG)
        assert answer.status_code == 403
        assert "infer" in answer.json()["detail"]
        assert ben.get("/service/0/v1/models").is_success


def test_nobody_reaches_a_service_without_a_session(address: str) -> None:
    assert httpx.get(f"{address}/service/0/v1/models").status_code == 401


def test_a_page_of_another_origin_cannot_send_with_the_viewers_session(anna: httpx.Client) -> None:
    foreign = {**JPEG, "origin": "https://evil.example"}
    assert anna.post("/service/0/api/edit", content=b"x", headers=foreign).status_code == 403


def test_demo_traffic_is_for_demo_models_and_for_those_who_may_send(
    anna: httpx.Client, address: str
) -> None:
    refused = anna.post("/data/demo", json={"service": 0})
    assert refused.status_code == 422
    assert "demo models only" in refused.json()["detail"]
    assert anna.post("/data/demo", json={"service": 1}).status_code == 502
    assert anna.post("/data/demo", json={"service": 7}).status_code == 404
    assert anna.post("/data/demo", json={"service": -1}).status_code == 422
    with httpx.Client(base_url=address, timeout=30) as ben:
        ben.post("/data/session", content=VIEWING).raise_for_status()
        assert ben.post("/data/demo", json={"service": 0}).status_code == 403


def test_a_body_over_the_limit_is_refused_in_words(anna: httpx.Client) -> None:
    answer = anna.post("/service/0/api/edit", content=b"x" * (LIMIT + 1), headers=JPEG)
    assert answer.status_code == 413
    assert str(LIMIT) in answer.json()["detail"]


def test_a_service_that_is_down_is_said_in_words(anna: httpx.Client) -> None:
    answer = anna.get("/service/1/v1/models")
    assert answer.status_code == 502
    assert "does not answer" in answer.json()["detail"]


def test_a_service_that_wants_a_key_is_said_in_words(service: RealService, tmp_path: Path) -> None:
    with console(tmp_path, "--service", service.url) as url:
        answer = httpx.post(f"{url}/service/0/api/edit", content=b"x", timeout=30)
        assert answer.status_code == 502
        assert "SAFELIGHT_API_KEYS_FILE" in answer.json()["detail"]


def test_a_viewer_who_leaves_ends_the_edit(anna: httpx.Client, service: RealService) -> None:
    name = "6d1f09aa27de4b1c8d3f0a6b7c8d9e0f"
    asked = f"/service/0/v1/requests/{name}/events"

    async def leave() -> str:
        cookies = dict(anna.cookies)
        async with httpx.AsyncClient(base_url=anna.base_url, cookies=cookies, timeout=60) as client:
            edit = asyncio.create_task(
                client.post(
                    "/service/0/api/edit",
                    params={"instruction": "slowly make him old", "steps": 100},
                    content=photo(64, 64),
                    headers={**JPEG, "x-request-id": name},
                )
            )
            async with client.stream("GET", asked) as events:
                lines = events.aiter_lines()
                async for line in lines:
                    if line.startswith("event: step"):
                        edit.cancel()
                        break
                return "\n".join([line async for line in lines])

    said = asyncio.run(asyncio.wait_for(leave(), 30))
    assert "event: done" in said
    assert '"step":100,' not in said


def test_slow_uploads_keep_nobody_from_reading(anna: httpx.Client) -> None:
    where = anna.base_url.host, int(anna.base_url.port or 0)
    cookies = "; ".join(f"{name}={value}" for name, value in anna.cookies.items())
    head = (
        f"POST /service/0/api/edit/check HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\n"
        "Content-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\nxx"
    )
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(where, 30)) for _ in range(17)]
        for each in slow:
            each.sendall(head.encode())
        ready, _, _ = select.select(slow, [], [], 30)
        assert [each.recv(12) for each in ready] == [b"HTTP/1.1 503"]
        full = anna.post("/service/0/api/edit/check", content=photo(64, 64), headers=JPEG)
        assert full.status_code == 503
        assert anna.get("/service/0/v1/models").is_success


def test_open_streams_keep_nobody_from_a_service(anna: httpx.Client) -> None:
    where = anna.base_url.host, int(anna.base_url.port or 0)
    cookies = "; ".join(f"{name}={value}" for name, value in anna.cookies.items())
    head = (
        "GET /service/0/v1/requests/x/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Cookie: {cookies}\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        streams = [stack.enter_context(socket.create_connection(where, 30)) for _ in range(110)]
        for each in streams:
            each.sendall(head)
        assert anna.get("/service/0/v1/models").is_success
        heads = [each.recv(12) for each in streams]
        assert heads.count(b"HTTP/1.1 503") == 94
        assert set(heads) == {b"HTTP/1.1 503", b"HTTP/1.1 404"}  # nobody sent that request

    def is_refused() -> bool:
        return anna.get("/service/0/v1/requests/x/events").status_code == 503

    eventually(lambda: not is_refused(), within=60, what="streams that ended are not counted")


def test_a_stream_of_events_counts_until_it_ends() -> None:
    forwarding = gateway.Gateway((), 100)
    with ExitStack() as held:
        for _ in range(64):
            held.enter_context(forwarding._turn("events", 64))
        with pytest.raises(Overloaded, match="too many requests"), forwarding._turn("events", 64):
            pass
    assert not forwarding._running


async def test_no_free_connection_is_not_called_a_service_that_is_down() -> None:
    def busy(_: httpx.Request) -> httpx.Response:
        raise httpx.PoolTimeout("")

    forwarding = gateway.Gateway(("http://127.0.0.1:9",), 100)
    forwarding._client = httpx.AsyncClient(transport=httpx.MockTransport(busy))
    with pytest.raises(Overloaded):
        await forwarding.send(ANYONE, 0, ("GET", "/readyz", b""), 1.0)
    request = Request({"type": "http", "method": "GET", "headers": []}, never)
    asked = forwarding._client.build_request("GET", "http://127.0.0.1:9")
    with pytest.raises(Overloaded):
        await forwarding._answer(request, forwarding._client, asked)


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def test_an_upload_that_does_not_arrive_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_UPLOAD_SECONDS", 0.05)
    request = Request({"type": "http", "method": "POST", "headers": []}, never)
    with pytest.raises(MalformedBody, match="did not arrive"):
        asyncio.run(gateway.Gateway((), 100)._body(request))
