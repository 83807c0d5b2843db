"""Web pages of other origins, and probes that send HEAD."""

import pytest

from safelight.serving.http.api import MODEL_ENDPOINTS
from tests.serving.running import client, edit, engine

PAGE = "https://studio.example"
pytestmark = pytest.mark.anyio


def preflight(origin: str = PAGE) -> dict[str, str]:
    """Return what a browser asks before it sends JSON with a key from a page."""
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }


@pytest.mark.parametrize("path", MODEL_ENDPOINTS)
@pytest.mark.parametrize("origins", [PAGE, f"http://localhost:5173,{PAGE}", "*"])
async def test_a_browser_may_call_every_model_route_from_an_allowed_page(
    path: str, origins: str
) -> None:
    async with engine(cors_origins=origins) as service, client(service) as speaking:
        asked = await speaking.options(path, headers=preflight())
        answered = await speaking.post(path, content=b"{", headers={"origin": PAGE})

    allowed = "*" if origins == "*" else PAGE
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, allowed)
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "x-stainless-os" in asked.headers["access-control-allow-headers"].lower()
    assert answered.status_code in (400, 404, 415), "errors are readable for the page too"
    assert answered.headers["access-control-allow-origin"] == allowed
    assert "access-control-allow-credentials" not in answered.headers


async def test_a_page_can_read_the_headers_of_an_edit() -> None:
    async with engine(cors_origins=PAGE) as service, client(service) as speaking:
        answer = await edit(speaking, headers={"origin": PAGE})

    shown = answer.headers["access-control-expose-headers"].lower().split(", ")
    own = {name for name in answer.headers if name.startswith("x-")}
    assert own <= set(shown)
    assert {"retry-after", "server-timing", "x-request-id"} <= set(shown)


async def test_another_page_is_refused() -> None:
    async with engine(cors_origins=PAGE) as service, client(service) as speaking:
        asked = await speaking.options("/api/edit", headers=preflight("https://evil.example"))
        answer = await edit(speaking, headers={"origin": "https://evil.example"})

    assert asked.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


async def test_by_default_no_page_may_call() -> None:
    async with engine() as service, client(service) as speaking:
        asked = await speaking.options("/api/edit", headers=preflight())
        answer = await edit(speaking, headers={"origin": PAGE})

    assert asked.status_code == 405
    assert answer.status_code == 403
    assert answer.json()["reason"] == "foreign_page"
    assert "SAFELIGHT_CORS_ORIGINS" in answer.json()["detail"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_health_route_answers_head_as_it_answers_get(path: str) -> None:
    async with engine() as service, client(service) as speaking:
        got, asked = await speaking.get(path), await speaking.head(path)

    assert (got.status_code, asked.status_code) == (200, 200)
    assert asked.headers["content-type"] == got.headers["content-type"]


async def test_head_is_no_second_operation_in_the_description() -> None:
    async with engine() as service, client(service) as speaking:
        paths = (await speaking.get("/openapi.json")).json()["paths"]
        wrong = await speaking.post("/healthz")

    assert list(paths["/healthz"]) == list(paths["/readyz"]) == ["get"]
    assert {each.strip() for each in wrong.headers["allow"].split(",")} == {"GET", "HEAD"}
