"""Serve the model's routes directly, in front of FastAPI.

FastAPI's middlewares, its route search and its dependencies cost a request more than everything
that Safelight does with it. The routes are registered with FastAPI still, for its OpenAPI
page, and FastAPI serves all other routes.
"""

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.errors import SafelightError
from safelight.serving.http.problems import on_any_error, on_safelight_error
from safelight.settings import Settings

_METHODS = ("GET", "POST", "DELETE")
_SHOWN_HEADERS = (
    "Retry-After",
    "Server-Timing",
    "X-Request-Id",
    "X-Safelight-Advice",
    "X-Safelight-Degraded",
    "X-Safelight-Prompt-Truncated",
    "X-Safelight-Request-Id",
    "X-Safelight-Seed",
    "X-Safelight-Warning",
)


def with_cors(app: ASGIApp, origins: str) -> ASGIApp:
    """Let web pages of these origins call the application; without origins, return it unchanged.

    No cookies: an API key is a header that the page itself sends.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins.split(","),
        allow_methods=_METHODS,
        allow_headers=("*",),  # OpenAI's client sends a dozen of its own
        expose_headers=_SHOWN_HEADERS,
    )


def with_peers(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let an application ask the instances of the settings; without any, return it unchanged."""
    if not settings.peers:
        return app
    from safelight.serving.http.peers import Peers  # here, because its HTTP client takes 2 MB

    return Peers(app, settings)


class ModelRoutes:
    """Wraps an application: POST requests to `paths` go directly to their endpoint functions."""

    def __init__(self, api: FastAPI, paths: tuple[str, ...]) -> None:
        self._api = api
        self._routes = {
            route.path: route
            for route in api.routes
            if isinstance(route, APIRoute) and route.path in paths
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        route = self._routes.get(path)
        if route is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._api(scope, receive, send)
            return
        scope["app"], scope["route"] = self._api, route
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request)
        except SafelightError as error:
            response = await on_safelight_error(request, error)
        except Exception as error:
            response = await on_any_error(request, error)
            await response(scope, receive, send)
            raise  # for the log
        await response(scope, receive, send)
