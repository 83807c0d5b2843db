"""Who looks at the console: people log in with the API keys of the services.

Their key's scopes say what they may see and do, so there is no second list of users. Without keys
everyone who reaches the console may do everything; then it listens on this machine only.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.console.answering import answer, failed, read_body
from safelight.errors import BadSetting, Forbidden, SafelightError, Unauthorized
from safelight.serving.http.keys import Keys, hashed
from safelight.serving.http.scopes import OPERATE, VIEW
from safelight.settings import SCOPES

_COOKIE = "safelight_session_{port}"  # browsers send cookies to all ports of a host
_IDLE_SECONDS = 12 * 3600.0
_MOST_SESSIONS, _MOST_OF_A_KEY, _MOST_BYTES = 1000, 40, 500
_GUARDED = ("/data/", "/service/")
_OPEN = ("/data/session",)


@dataclass(frozen=True, slots=True)
class Session:
    """A viewer: the name of the key, what it may do, and the key; the key is empty without keys."""

    name: str
    scopes: frozenset[str]
    key: str = ""

    def authorization(self) -> dict[str, str]:
        """Return the header that shows a service the viewer's key."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def require(self, *scopes: str) -> None:
        """Raise Forbidden if the viewer has none of the scopes."""
        if not self.scopes.intersection(scopes):
            raise Forbidden(self.name, scopes)


ANYONE = Session("", frozenset(SCOPES))


@dataclass(slots=True)
class _Open:
    key: str
    used_at: float


class Sessions:
    """The sessions of this process, the least recently used first.

    A session ends with the process, after twelve hours without a request, and when its key is
    removed. A key has at most forty: one more ends the one of them that was not used for longest.
    `keys` is None if callers need none; `clock` is in seconds; `port` is the console's.
    """

    def __init__(
        self, keys: Keys | None, clock: Callable[[], float] = monotonic, port: int = 0
    ) -> None:
        self.cookie = _COOKIE.format(port=port)
        self._keys = keys
        self._clock = clock
        self._open: OrderedDict[str, _Open] = OrderedDict()

    @property
    def are_needed(self) -> bool:
        """Return whether viewers log in."""
        return self._keys is not None

    def begin(self, key: str) -> str:
        """Return the token of a new session. Raises Unauthorized, Forbidden."""
        self._session(key).require(VIEW, OPERATE)
        token = secrets.token_urlsafe(32)
        self._open[hashed(token)] = _Open(key, self._clock())
        own = [name for name, each in self._open.items() if each.key == key]
        for name in own[:-_MOST_OF_A_KEY]:
            del self._open[name]
        while len(self._open) > _MOST_SESSIONS:
            self._open.popitem(last=False)
        return token

    def end(self, token: str) -> None:
        """End a session, if it is open."""
        self._open.pop(hashed(token), None)

    def find(self, token: str) -> Session:
        """Return the session of a token. Raises Unauthorized."""
        if self._keys is None:
            return ANYONE
        own, now = self._open.get(hashed(token)), self._clock()
        if own is None or now - own.used_at > _IDLE_SECONDS:
            self.end(token)
            raise Unauthorized
        own.used_at = now
        self._open.move_to_end(hashed(token))
        try:
            return self._session(own.key)
        except Unauthorized:
            self.end(token)  # for good, also if the key is added again
            raise

    def lasts(self, token: str) -> bool:
        """Return whether a session is open. This is no use of it."""
        own = self._open.get(hashed(token))
        if self._keys is None:
            return True
        if own is None or self._clock() - own.used_at > _IDLE_SECONDS:
            return False
        try:
            self._session(own.key).require(VIEW, OPERATE)
        except Unauthorized:
            self.end(token)
            return False
        except SafelightError:
            return False
        return True

    def token(self, request: Request) -> str:
        """Return the token that a browser sent; empty if it sent none."""
        return request.cookies.get(self.cookie, "")

    def _session(self, key: str) -> Session:
        if self._keys is None:
            raise BadSetting("This console has no login: set SAFELIGHT_API_KEYS_FILE.")
        found = self._keys.find(f"Bearer {key}")
        return Session(found.name, found.scopes, key)

    # ── Routes ───────────────────────────────────────────────────────────────────────────────────

    def routes(self) -> list[Route]:
        """Return the routes that begin, show and end a session."""
        path = _OPEN[0]
        return [
            Route(path, self._show, methods=["GET"]),
            Route(path, self._log_in, methods=["POST"]),
            Route(path, self._log_out, methods=["DELETE"]),
        ]

    async def _show(self, request: Request) -> Response:
        session = self.find(self.token(request))
        return self._shown(session)

    async def _log_in(self, request: Request) -> Response:
        written = await read_body(request, _MOST_BYTES)
        token = self.begin(written.decode(errors="replace").strip())
        response = self._shown(self.find(token))
        secure = request.url.scheme == "https"
        response.set_cookie(self.cookie, token, httponly=True, samesite="strict", secure=secure)
        return response

    async def _log_out(self, request: Request) -> Response:
        self.end(self.token(request))
        response = answer({})
        response.delete_cookie(self.cookie, httponly=True, samesite="strict")
        return response

    def _shown(self, session: Session) -> Response:
        content = {"name": session.name, "scopes": sorted(session.scopes)}
        return answer({**content, "login": self.are_needed})


class Guarded:
    """Wraps an application: data and services are for viewers who are logged in."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(_GUARDED) and path not in _OPEN:
            try:
                token = self._sessions.token(Request(scope))
                state = scope.setdefault("state", {})
                state["session"] = self._sessions.find(token)
                state["lasts"] = partial(self._sessions.lasts, token)
                session_of(Request(scope)).require(VIEW, OPERATE)
            except SafelightError as error:
                await failed(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def session_of(request: Request) -> Session:
    """Return the session of a guarded request."""
    return cast("Session", request.state.session)


def lasting(request: Request) -> Callable[[], bool]:
    """Return how a stream asks whether the session of its guarded request is still open."""
    return cast("Callable[[], bool]", request.state.lasts)
