"""The short way to the model: its routes are served before the framework's long chain is walked.

FastAPI's middlewares, its search for the route and its handling of dependencies cost a request more
than all that Safelight does with it. The routes stand in FastAPI all the same, for its OpenAPI, and
everything that is not the model's goes to it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute

from safelight.errors import SafelightError
from safelight.serving.http.problems import on_any_error, on_safelight_error

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class ModelRoutes:
    """Wraps an application: `paths` are served directly, by the endpoints that it has for them."""

    def __init__(self, api: FastAPI, paths: tuple[str, ...]) -> None:
        self._api = api
        self._routes = {
            route.path: route
            for route in api.routes
            if isinstance(route, APIRoute) and route.path in paths
        }

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one connection."""
        route = self._routes.get(scope.get("path", ""))
        if route is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._api(scope, receive, send)
            return
        scope["app"], scope["route"] = self._api, route
        request = Request(scope, receive)
        try:
            answer = await route.endpoint(request)
        except SafelightError as error:
            answer = await on_safelight_error(request, error)
        except Exception as error:
            answer = await on_any_error(request, error)
            await answer(scope, receive, send)
            raise  # for the log
        await answer(scope, receive, send)
