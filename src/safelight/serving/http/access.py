"""Decide which caller may use which route, and count the use of each API key."""

from collections.abc import Callable, Collection
from functools import partial
from time import monotonic

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.errors import BadSetting, Forbidden, SafelightError
from safelight.metrics.catalog import KEY_REQUESTS
from safelight.metrics.registry import Meter
from safelight.origins import is_local
from safelight.serving.http.key_file import KeyFile
from safelight.serving.http.keys import Key, Keys, read
from safelight.serving.http.problems import on_safelight_error
from safelight.serving.http.scopes import accepted
from safelight.settings import PAGES, Settings, environment_name

_METRICS = "metrics"
_ADDRESS_CHARACTERS = 64  # more than any address has; a proxy may pass on any text


class Access:
    """Who may do what. Without keys, everyone may do everything."""

    def __init__(
        self, settings: Settings, meter: Meter, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Read the keys. Raises BadSetting."""
        self._meter = meter
        self._fixed = read(settings.api_keys)
        path, failed = settings.api_keys_file, partial(meter.probe_failed, "keys")
        self._file = None if path is None else KeyFile(path, failed, clock=clock)
        self._keys = Keys(self._valid) if has_keys(settings) else None
        self._pages = protected_pages(settings)

    def owner(self, request: Request) -> str:
        """Return the name of the caller's key, or the caller's address if no keys are set.

        Raises Unauthorized, Forbidden.
        """
        if self._keys is None:
            return request.client.host[:_ADDRESS_CHARACTERS] if request.client else ""
        route = f"{request.method} {request.scope['route'].path}"
        owner = self._admit(request.headers.get("authorization"), route)
        request.state.owner = owner  # for `Peers`
        return owner

    def around_metrics(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose metrics need a key, if the settings say so."""
        return self._around(app, self._pages & {_METRICS})

    def around_pages(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose other pages need a key, as far as the settings say so."""
        return self._around(app, self._pages - {_METRICS})

    def _around(self, app: ASGIApp, names: Collection[str]) -> ASGIApp:
        return _Protected(app, [PAGES[name] for name in names], self._admit) if names else app

    def _valid(self) -> tuple[Key, ...]:
        return self._fixed + (self._file.valid() if self._file is not None else ())

    def _admit(self, authorization: str | None, route: str) -> str:
        assert self._keys is not None
        key, scopes = self._keys.find(authorization), accepted(route)
        if not key.scopes.intersection(scopes):
            raise Forbidden(key.name, scopes)
        self._meter.add(KEY_REQUESTS, key.name)
        return key.name


class _Protected:
    """Wraps an application. A preflight request of a browser shows no key, and gets no page."""

    def __init__(
        self, app: ASGIApp, pages: Collection[str], admit: Callable[[str | None, str], str]
    ) -> None:
        self._app = app
        self._pages = pages
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._page(scope) if scope["type"] == "http" else None
        if page is not None and scope["method"] != "OPTIONS":
            try:
                self._admit(Headers(scope=scope).get("authorization"), f"GET {page}")
            except SafelightError as error:
                response = await on_safelight_error(Request(scope), error)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _page(self, scope: Scope) -> str | None:
        """Return the page that a path names, with or without the prefix of a proxy."""
        path, root = scope["path"].rstrip("/"), scope.get("root_path", "")
        return next((page for page in self._pages if path in (page, root + page)), None)


def has_keys(settings: Settings) -> bool:
    """Return whether callers need a key."""
    return bool(settings.api_keys or settings.api_keys_file)


def check_exposure(settings: Settings) -> None:
    """Raise BadSetting if the service is exposed without keys or `allow_anonymous`."""
    if not (is_local(settings.host) or has_keys(settings) or settings.allow_anonymous):
        raise BadSetting(
            f"Anyone who reaches {settings.host} could use the model. Set SAFELIGHT_API_KEYS "
            "(`safelight key` makes one), or allow it with --allow-anonymous."
        )


def protected_pages(settings: Settings) -> frozenset[str]:
    """Return the names of the pages that need a key. Raises BadSetting without keys."""
    pages = frozenset(settings.protected_pages.split(",")) - {""}
    if pages and not has_keys(settings):
        raise BadSetting(
            f"{environment_name('protected_pages')} needs API keys: set "
            f"{environment_name('api_keys_file')} or {environment_name('api_keys')}."
        )
    return pages
