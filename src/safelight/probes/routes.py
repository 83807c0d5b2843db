"""Find the route template of a request: `/items/{id}`, not `/items/7`.

Reads the scope and the routers of FastAPI and Starlette; `none` if no route matched.
"""

from collections.abc import Iterable

from safelight.libraries import Scope, WebApp

NO_ROUTE = "none"
_MAX_CACHED = 1000
_MAX_DEPTH = 10  # of nested mounts
_MAX_WRAPPERS = 10


RouteKey = tuple[int, str]


def key_of(scope: Scope) -> RouteKey:
    """Return what identifies the route of a finished request, with its mounts."""
    route = scope.get("route")
    if "fastapi" in scope:
        # A router that is included twice has one route object with two contexts.
        route = scope["fastapi"].get("effective_route_context") or route
    return id(route), scope.get("root_path", "")


class Routes:
    """Finds templates, and caches those of FastAPI's routes."""

    def __init__(self) -> None:
        # With the route itself: else another one could get its id.
        self._cache: dict[RouteKey, tuple[str, WebApp]] = {}

    def has(self, key: RouteKey) -> bool:
        """Return True if the route was found before. Then its key stays that of this route."""
        return key in self._cache

    def template(self, scope: Scope, app: WebApp, root_path: str) -> str:
        """Return the template of the route that the finished request matched.

        `app` and `root_path` are the scope's values before the application ran, since mounts
        change both.
        """
        route = scope.get("route")
        if route is None:  # plain Starlette does not store the route
            searched = _search(scope, app, root_path) if "endpoint" in scope else None
            return NO_ROUTE if searched is None else searched or "/"
        key = key_of(scope)
        if key in self._cache:
            template, _ = self._cache[key]
        else:
            mounts = _prefix(scope, app, root_path)
            # For a mounted application without routes (static files) the mount is the route.
            template = mounts or "/" if _is_mount(route) else mounts + _path_of(scope, route)
            if len(self._cache) < _MAX_CACHED:  # a mount may have parameters
                self._cache[key] = template, (route, _context(scope))
        return template


def with_routes(app: WebApp) -> WebApp:
    """Return the application inside middlewares that has routes, or `app`."""
    inner = app
    for _ in range(_MAX_WRAPPERS):
        if hasattr(inner, "routes"):
            return inner
        inner = getattr(inner, "app", None)
    return app


def _path_of(scope: Scope, route: WebApp) -> str:
    """Return a route's full path. For included FastAPI routers it is in the context."""
    return str(getattr(_context(scope), "path", None) or route.path)


def _context(scope: Scope) -> WebApp:
    return scope.get("fastapi", {}).get("effective_route_context")


def _prefix(scope: Scope, app: WebApp, root_path: str) -> str:
    """Return the templates of the mounts that the request passed."""
    if scope.get("root_path", "") == root_path:
        return ""
    template, routes, rest = (
        "",
        getattr(app, "routes", ()),
        str(scope["path"]).removeprefix(root_path),
    )
    for _ in range(_MAX_DEPTH):
        mount = next((each for each in _mounts(routes) if each.path_regex.match(rest)), None)
        if mount is None:
            break
        template += mount.path
        rest = "/" + mount.path_regex.match(rest)["path"]
        routes = mount.routes or ()
    return template


def _search(scope: Scope, app: WebApp, root_path: str) -> str | None:
    """Match the request again, mount by mount, and return its template."""
    template, routes = "", getattr(app, "routes", ())
    child_scope: Scope = {**scope, "root_path": root_path}
    for _ in range(_MAX_DEPTH):
        route, updates = _best(routes, child_scope)
        if route is None:
            return None
        template += getattr(route, "path", "")
        routes = getattr(route, "routes", None) or ()
        if not routes:
            return template
        child_scope.update(updates)
    return template


def _best(routes: Iterable[WebApp], scope: Scope) -> tuple[WebApp, Scope]:
    """Return the route that Starlette chooses: a full match, else the first partial match."""
    from starlette.routing import Match

    partial: tuple[WebApp, Scope] = (None, {})
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route, child
        if match is Match.PARTIAL and partial[0] is None:
            partial = (route, child)
    return partial


def _mounts(routes: Iterable[WebApp]) -> list[WebApp]:
    return [route for route in routes if _is_mount(route)]


def _is_mount(route: WebApp) -> bool:
    return all(hasattr(route, part) for part in ("path_regex", "app", "routes"))
