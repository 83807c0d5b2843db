"""Behind a reverse proxy, a response has the addresses that its caller can reach."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from safelight.metrics.catalog import HTTP_REQUESTS
from safelight.serving.app import Service
from tests.reading import value
from tests.serving.jobs import PICTURE
from tests.serving.running import engine

FORWARDED = {
    "x-forwarded-proto": "https",
    "x-forwarded-host": "images.example",
    "x-forwarded-prefix": "/studio",
    "x-forwarded-for": "203.0.113.7",
}
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def caller(service: Service, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    """Return a client whose connections come from an address."""
    transport = httpx.ASGITransport(app=service.app, client=(address, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


async def url_of(client: httpx.AsyncClient, headers: dict[str, str]) -> str:
    """Return the address of an edited image."""
    response = await client.post(
        "/v1/images/edits",
        files={"image": PICTURE},
        data={"prompt": "make him old", "steps": "1", "response_format": "url"},
        headers=headers,
    )
    assert response.status_code == 200, response.text
    url: str = response.json()["data"][0]["url"].partition("/v1/images/")[0]
    return url


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://localhost:8000"),
        (FORWARDED, "https://images.example/studio"),
        ({"x-forwarded-proto": "https"}, "https://localhost:8000"),
        ({"x-forwarded-host": "images.example:8443"}, "http://images.example:8443"),
        ({"x-forwarded-host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
        ({"x-forwarded-host": "client.example, images.example"}, "http://images.example"),
        ({"x-forwarded-prefix": "/studio/"}, "http://localhost:8000/studio"),
        ({"x-forwarded-prefix": "/api"}, "http://localhost:8000/api"),
        ({"x-forwarded-host": "images.example/evil?"}, "http://localhost:8000"),
        ({"x-forwarded-host": "user@images.example"}, "http://localhost:8000"),
        ({"x-forwarded-prefix": "//evil.example"}, "http://localhost:8000"),
        ({"x-forwarded-prefix": "/<script>"}, "http://localhost:8000"),
        ({"x-forwarded-proto": "javascript"}, "http://localhost:8000"),
    ],
)
async def test_addresses_are_those_that_the_proxy_reports(
    headers: dict[str, str], url: str
) -> None:
    async with engine() as service, caller(service) as client:
        assert await url_of(client, headers) == url


@pytest.mark.parametrize(
    ("trusted", "address", "used"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1,::1", "::1", True),
        ("127.0.0.1,::1", "192.0.2.4", False),
        ("192.0.2.0/24", "192.0.2.4", True),
        ("192.0.2.0/24", "127.0.0.1", False),
        ("*", "192.0.2.4", True),
        ("", "127.0.0.1", False),
    ],
)
async def test_only_trusted_proxies_are_believed(trusted: str, address: str, used: bool) -> None:
    async with engine(forwarded_allow_ips=trusted) as service, caller(service, address) as client:
        url = await url_of(client, FORWARDED)

    assert url == ("https://images.example/studio" if used else "http://localhost:8000")


async def test_the_callers_address_is_that_before_the_proxy() -> None:
    async with engine(rate_limit_per_minute=6) as service, caller(service) as client:

        async def status(address: str) -> int:
            asked: dict[str, str | int] = {"instruction": "make him old", "steps": 1}
            headers = {"content-type": "image/jpeg", "x-forwarded-for": address}
            response = await client.post(
                "/api/edit", params=asked, content=PICTURE, headers=headers
            )
            return response.status_code

        seen = [await status(address) for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7")]

    assert seen == [200, 200, 429]


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-proto": "http"}])
@pytest.mark.parametrize("root_path", ["/studio", "/api", "/a/b-c"])
async def test_all_routes_are_served_below_a_root_path(
    root_path: str, headers: dict[str, str]
) -> None:
    async with engine(root_path=root_path) as service, caller(service) as client:
        assert await url_of(client, headers) == f"http://localhost:8000{root_path}"
        for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/openapi.json"):
            assert (await client.get(path, headers=headers)).status_code == 200, path
        page = (await client.get("/docs", headers=headers)).text
        answer = await client.get("/", headers=headers)
        counted = value(service.meter, HTTP_REQUESTS, handler="/v1/images/edits")

    assert f"{root_path}/openapi.json" in page
    assert f"http://localhost:8000{root_path}/swagger/" in page
    assert answer.headers["location"] == f"http://localhost:8000{root_path}/docs"
    assert counted == 1


async def test_the_proxys_own_prefix_wins_over_the_root_path() -> None:
    async with engine(root_path="/other") as service, caller(service) as client:
        assert await url_of(client, FORWARDED) == "https://images.example/studio"
