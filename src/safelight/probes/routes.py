"""Which route template a request matched: `/items/{id}`, never `/items/7`.

Reads what FastAPI and Starlette leave in the scope and their routers; `none` where none matched.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any

NO_ROUTE = "none"
_MOST_CACHED = 1000

Scope = MutableMapping[str, Any]


class Routes:
    """Finds templates, and remembers those of FastAPI's routes."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], str] = {}

    def template(self, scope: Scope, app: Any, root_path: str) -> str:
        """Return the template of the route that the finished request matched.

        `app` and `root_path` are the scope's from before the application ran: mounts change both.
        """
        route = scope.get("route")
        if route is None:  # plain Starlette keeps no route, so we look again
            searched = _search(scope, app, root_path) if "endpoint" in scope else None
            return NO_ROUTE if searched is None else searched or "/"
        # A router that is included twice has one route, and a context for each place.
        context = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        key = (id(context or route), scope.get("root_path", ""))
        found = self._known.get(key)
        if found is None:
            mounts = _prefix(scope, app, root_path)
            # Of a mounted application without routes (static files) the mount is the route.
            found = mounts or "/" if _is_mount(route) else mounts + _path_of(scope, route)
            if len(self._known) < _MOST_CACHED:  # a mount may have parameters of its own
                self._known[key] = found
        return found


def _path_of(scope: Scope, route: Any) -> str:
    """Return a route's whole path: included FastAPI routers keep it in a context of their own."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    return str(getattr(context, "path", None) or route.path)


def _prefix(scope: Scope, app: Any, root_path: str) -> str:
    """Return the templates of the mounts that the request went through."""
    if scope.get("root_path", "") == root_path:
        return ""
    template, routes, rest = (
        "",
        getattr(app, "routes", ()),
        str(scope["path"]).removeprefix(root_path),
    )
    for _ in range(10):
        mount = next((found for found in _mounts(routes) if found.path_regex.match(rest)), None)
        if mount is None:
            break
        template += mount.path
        rest = "/" + mount.path_regex.match(rest)["path"]
        routes = mount.routes or ()
    return template


def _search(scope: Scope, app: Any, root_path: str) -> str | None:
    """Match the request once more, mount by mount, for its template."""
    template, routes = "", getattr(app, "routes", ())
    trial: dict[str, Any] = {**scope, "root_path": root_path}
    for _ in range(10):
        route, child = _best(routes, trial)
        if route is None:
            return None
        template += getattr(route, "path", "")
        routes = getattr(route, "routes", None) or ()
        if not routes:
            return template
        trial.update(child)
    return template


def _best(routes: Iterable[Any], scope: Scope) -> tuple[Any, Any]:
    """Return the route that Starlette would take: the first that fits but for its method, last."""
    from starlette.routing import Match

    partial: tuple[Any, Any] = (None, {})
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route, child
        if match is Match.PARTIAL and partial[0] is None:
            partial = (route, child)
    return partial


def _mounts(routes: Iterable[Any]) -> list[Any]:
    return [route for route in routes if _is_mount(route)]


def _is_mount(route: Any) -> bool:
    return all(hasattr(route, part) for part in ("path_regex", "app", "routes"))
