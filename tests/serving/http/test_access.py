"""What each scope of a key opens, on a real service: every route, and every protected page."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from fastapi import FastAPI

from safelight.errors import BadSetting
from safelight.metrics.catalog import KEY_REQUESTS, REJECTED
from safelight.serving.app import Service
from safelight.serving.http.keys import hashed
from safelight.serving.http.scopes import ACCEPTED, OPEN
from safelight.settings import PAGES, SCOPES, load
from tests.reading import value
from tests.serving.running import client, edit, engine

pytestmark = pytest.mark.anyio
KEYS = ",".join(f"{scope}:{scope}={hashed(f'sl-{scope}')}" for scope in SCOPES)
ALL = ",".join(PAGES)
REFUSED = {401, 403}


def shown(scope: str) -> dict[str, str]:
    return {"authorization": f"Bearer sl-{scope}"}


def keyed(**settings: Any) -> dict[str, Any]:
    return {"api_keys": KEYS, "protected_pages": ALL, **settings}


async def ask(speaking: httpx.AsyncClient, route: str, **headers: str) -> httpx.Response:
    method, _, path = route.partition(" ")
    path = path.replace("{request_id}", uuid4().hex).replace("{name}", "x" * 32)
    return await speaking.request(method, path, headers=headers)


def routes(service: Service) -> set[str]:
    """Return every route of the service's application, and the page that its probe serves."""
    found: list[FastAPI] = []

    def search(part: object, depth: int = 0) -> None:
        if isinstance(part, FastAPI):
            found.append(part)
        elif depth < 9 and hasattr(part, "__dict__"):
            for inner in vars(part).values():
                if callable(inner):
                    search(inner, depth + 1)

    search(service.app)
    served = {
        f"{method} {getattr(route, 'path', '')}"
        for route in found[0].routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    return {*served, f"GET {PAGES['metrics']}"}


async def test_every_route_is_in_the_table_or_open_on_purpose() -> None:
    service = Service(load(namespace="tests", records_url="", **keyed()))
    assert routes(service) == {*ACCEPTED, *OPEN}
    assert not set(ACCEPTED) & set(OPEN)
    assert {scope for scopes in ACCEPTED.values() for scope in scopes} == set(SCOPES)


async def test_a_key_opens_the_routes_of_its_scopes_and_no_other() -> None:
    async with engine(**keyed()) as service, client(service) as speaking:
        for route, scopes in ACCEPTED.items():
            assert (await ask(speaking, route)).status_code == 401, route
            for scope in SCOPES:
                answer = await ask(speaking, route, **shown(scope))
                expected = answer.status_code not in REFUSED if scope in scopes else False
                assert expected == (scope in scopes), (route, scope, answer.text)
                if scope not in scopes:
                    assert answer.status_code == 403, (route, scope)
        for route in OPEN:
            assert (await ask(speaking, route)).status_code not in REFUSED, route


async def test_a_refused_key_learns_what_is_missing_and_what_to_do() -> None:
    async with engine(**keyed()) as service, client(service) as speaking:
        answer = await edit(speaking, headers=shown("rate"))
        number = value(service.meter, REJECTED, reason="unauthorized")
    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (403, "forbidden")
    assert "no scope infer" in problem["detail"]
    assert "ask the operator" in problem["detail"]
    assert number == 1


async def test_the_use_of_a_key_is_counted_by_its_name() -> None:
    async with engine(**keyed()) as service, client(service) as speaking:
        for _ in range(3):
            assert (await edit(speaking, headers=shown("infer"))).status_code == 200
        await edit(speaking, headers=shown("rate"))
        await edit(speaking, headers={"authorization": "Bearer sl-unknown"})
        assert value(service.meter, KEY_REQUESTS, key="infer") == 3
        assert value(service.meter, KEY_REQUESTS) == 3


@pytest.mark.parametrize("name", PAGES)
async def test_each_page_can_be_protected_alone(name: str) -> None:
    async with engine(api_keys=KEYS, protected_pages=name) as service, client(service) as speaking:
        statuses = {page: (await speaking.get(path)).status_code for page, path in PAGES.items()}
    assert statuses == {page: 401 if page == name else 200 for page in PAGES}


@pytest.mark.parametrize(
    "path", ["/metrics/", "/metrics//", "/%6detrics", "/metrics?x=1", "/docs/"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_no_spelling_of_a_path_leads_past_the_key(path: str, method: str) -> None:
    async with engine(**keyed()) as service, client(service) as speaking:
        answer = await speaking.request(method, path)
    assert answer.status_code in (401, 404)
    assert "http_requests_total" not in answer.text
    assert "swagger" not in answer.text


@pytest.mark.parametrize("path", ["/metrics", "/studio/metrics", "/studio/docs", "/docs"])
async def test_behind_a_proxy_with_a_prefix_the_pages_are_protected_too(path: str) -> None:
    async with engine(**keyed(root_path="/studio")) as service, client(service) as speaking:
        assert (await speaking.get(path)).status_code in (401, 404)
        assert (await speaking.get("/metrics", headers=shown("operate"))).status_code == 200


async def test_a_page_of_an_allowed_origin_may_ask_what_it_may_send() -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "GET"}
    settings = keyed(cors_origins="https://a.example")
    async with engine(**settings) as service, client(service) as speaking:
        preflight = await speaking.options("/v1/models", headers=asked)
        refused = await speaking.get("/v1/models", headers={"origin": "https://a.example"})
    assert preflight.status_code == 200
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://a.example"


async def test_a_key_that_is_revoked_is_refused_without_a_restart(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", [0.0]
    file.write_text(f"anna={hashed('sl-anna')}\nben={hashed('sl-ben')}\n")
    async with engine(api_keys_file=file) as service, client(service) as speaking:
        key_file = service.front.access._file
        assert key_file is not None
        key_file._clock = lambda: clock[0]
        assert (await edit(speaking, headers=shown("anna"))).status_code == 200
        file.write_text(f"ben={hashed('sl-ben')}\n")
        clock[0] = key_file._due
        assert (await edit(speaking, headers=shown("anna"))).status_code == 401
        assert (await edit(speaking, headers=shown("ben"))).status_code == 200


async def test_a_file_without_keys_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    async with engine(api_keys_file=tmp_path / "keys") as service, client(service) as speaking:
        assert (await edit(speaking)).status_code == 401
        assert (await edit(speaking, headers=shown("anna"))).status_code == 401


async def test_no_key_is_logged() -> None:
    with structlog.testing.capture_logs() as lines:
        async with engine(**keyed()) as service, client(service) as speaking:
            for secret in ("sl-infer", "sl-rate", "sl-unknown"):
                await edit(speaking, headers={"authorization": f"Bearer {secret}"})
    assert lines
    assert not any(secret in str(lines) for secret in ("sl-infer", "sl-rate", "sl-unknown"))


def test_pages_cannot_be_protected_without_keys() -> None:
    with pytest.raises(BadSetting, match="SAFELIGHT_PROTECTED_PAGES needs API keys"):
        Service(load(namespace="tests", records_url="", protected_pages="metrics"))


def test_the_page_lists_the_routes_of_each_scope() -> None:
    page = Path("docs/keys.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if "`GET /" in line and "|" in line]
    listed = {row[1].strip(" `"): set(re.findall(r"`([A-Z]+ /[^`]*)`", row[3])) for row in rows}
    rated = next(line for line in page.splitlines() if line.startswith("| `rate` "))
    listed["rate"] = set(re.findall(r"`([A-Z]+ /[^`]*)`", rated))
    expected = {
        scope: {route for route, scopes in ACCEPTED.items() if scope in scopes} for scope in SCOPES
    }
    assert listed == {**expected, "none": set(OPEN)}
