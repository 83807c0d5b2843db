from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.metrics.catalog import HTTP_REQUESTS
from safelight.metrics.registry import Meter
from safelight.probes.asgi import AppProbe
from tests.probes.web import ask
from tests.reading import series


def fast() -> FastAPI:
    app, inner, outer = FastAPI(), APIRouter(), APIRouter(prefix="/shops/{shop}")
    sub, deep = FastAPI(), FastAPI()

    @app.get("/items/{item}")
    def item(item: int) -> int:
        return item

    @app.post("/items/special")
    async def special() -> str:
        return "special"

    @app.api_route("/any", methods=["GET", "HEAD", "POST"])
    def anything() -> str:
        return "any"

    @app.get("/files/{path:path}")
    def file(path: str) -> str:
        return path

    @inner.get("/orders/{order}")
    def order(shop: str, order: int) -> int:
        return order

    @inner.get("")
    def orders(shop: str) -> str:
        return shop

    @sub.get("/things/{thing}")
    def thing(thing: int) -> int:
        return thing

    @deep.get("/leaf/{leaf}")
    def leaf(leaf: int) -> int:
        return leaf

    outer.include_router(inner, prefix="/v1")
    app.include_router(outer, prefix="/api")
    sub.mount("/deep/{level}", deep)
    app.mount("/sub", sub)
    app.mount("/tenants/{tenant}", sub)
    return app


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def plain() -> Starlette:
    things = [Route("/things/{thing}", answer), Mount("/deep/{level}", routes=[Route("/", answer)])]
    return Starlette(
        routes=[
            Route("/items/{item:int}", answer),
            Route("/both/{name}", answer, methods=["GET"]),
            Route("/both/special", answer, methods=["POST"]),
            Mount("/sub", routes=things),
            Mount("/tenants/{tenant}", app=Router(things)),
        ]
    )


class Forgetful:
    """An older Starlette, which stores no route in the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        scope.pop("route", None)


def forgetful() -> Starlette:
    app = plain()
    app.add_middleware(Forgetful)
    return app


def handler(app: Any, path: str, method: str = "GET", *, status: int = 200) -> str:
    """Return the route label of one request to a watched application."""
    meter = Meter("pix")
    probe = AppProbe(app, meter=meter, sink=lambda record: None)
    assert ask(app, path, method).status_code == status
    probe.unwatch()
    (found,) = series(meter, HTTP_REQUESTS)
    assert (found["method"], found["status"]) == (method, str(status))
    return found["handler"]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items/7", "/items/{item}"),
        ("/any", "/any"),
        ("/files/a/b/c.png", "/files/{path:path}"),
        ("/api/shops/mine/v1/orders/3", "/api/shops/{shop}/v1/orders/{order}"),
        ("/api/shops/mine/v1", "/api/shops/{shop}/v1"),
        ("/sub/things/5", "/sub/things/{thing}"),
        ("/tenants/acme/things/5", "/tenants/{tenant}/things/{thing}"),
        ("/tenants/acme/deep/2/leaf/9", "/tenants/{tenant}/deep/{level}/leaf/{leaf}"),
        ("/docs", "/docs"),
        ("/redoc", "/redoc"),
    ],
)
def test_fastapi_routes_have_their_template_as_label(path: str, template: str) -> None:
    assert handler(fast(), path) == template


@pytest.mark.parametrize("make", [plain, forgetful])
@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items/7", "/items/{item:int}"),
        ("/sub/things/5", "/sub/things/{thing}"),
        ("/sub/deep/2/", "/sub/deep/{level}/"),
        ("/tenants/acme/things/5", "/tenants/{tenant}/things/{thing}"),
        ("/tenants/acme/deep/2/", "/tenants/{tenant}/deep/{level}/"),
    ],
)
def test_starlette_routes_have_their_template_as_label(make: Any, path: str, template: str) -> None:
    assert handler(make(), path) == template


@pytest.mark.parametrize("make", [fast, plain, forgetful])
@pytest.mark.parametrize("path", ["/", "/nothing", "/items", "/sub/nothing", "/%00", "//items/7"])
def test_a_path_without_a_route_never_becomes_a_label(make: Any, path: str) -> None:
    assert handler(make(), path, status=404) in {"none", "/sub"}


@pytest.mark.parametrize("at", ["/static", "/", "/of/{tenant}"])
def test_mounted_static_files_are_one_label(at: str, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one")
    app = FastAPI()
    app.mount(at, StaticFiles(directory=tmp_path))
    path = at.format(tenant="acme").rstrip("/") + "/one.txt"
    assert handler(app, path) == at
    assert handler(app, path + "x", status=404) == at


def test_a_route_with_another_method_is_still_the_label() -> None:
    assert handler(fast(), "/items/7", "DELETE", status=405) == "/items/{item}"
    assert handler(plain(), "/items/7", "DELETE", status=405) == "/items/{item:int}"


@pytest.mark.parametrize("make", [plain, forgetful])
def test_a_route_with_the_method_wins_over_an_earlier_route_without(make: Any) -> None:
    assert handler(make(), "/both/special", "POST") == "/both/special"
    assert handler(make(), "/both/special", "GET") == "/both/{name}"


def test_a_fastapi_route_with_the_method_wins() -> None:
    assert handler(fast(), "/items/special", "POST") == "/items/special"


def test_head_and_get_are_counted_separately() -> None:
    assert handler(fast(), "/any", "HEAD") == "/any"
    assert handler(plain(), "/items/7", "HEAD") == "/items/{item:int}"


def test_a_mount_with_a_parameter_is_one_label() -> None:
    app, meter = fast(), Meter("pix")
    AppProbe(app, meter=meter, sink=lambda record: None)
    for tenant in range(20):
        ask(app, f"/tenants/{tenant}/things/{tenant}")
    assert [found["handler"] for found in series(meter, HTTP_REQUESTS)] == [
        "/tenants/{tenant}/things/{thing}"
    ]


def test_an_application_behind_a_prefix_has_its_own_templates() -> None:
    app = fast()
    app.root_path = "/behind"
    assert handler(app, "/items/7") == "/items/{item}"


def test_user_middleware_does_not_hide_the_route() -> None:
    app = fast()

    @app.middleware("http")
    async def around(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    assert handler(app, "/items/7") == "/items/{item}"


def test_a_router_that_is_included_twice_has_two_labels() -> None:
    app, inner = FastAPI(), APIRouter()

    @inner.get("/items/{item}")
    def item(item: int) -> int:
        return item

    app.include_router(inner, prefix="/one")
    app.include_router(inner, prefix="/two")
    meter = Meter("pix")
    probe = AppProbe(app, meter=meter, sink=lambda record: None)
    ask(app, "/one/items/1")
    ask(app, "/two/items/2")
    probe.unwatch()

    found = {labels["handler"] for labels in series(meter, HTTP_REQUESTS)}
    assert found == {"/one/items/{item}", "/two/items/{item}"}
