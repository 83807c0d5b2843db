"""Use what a trusted reverse proxy reports about the request that it received.

uvicorn's middleware reads X-Forwarded-Proto and X-Forwarded-For. This one adds X-Forwarded-Host and
X-Forwarded-Prefix, so that addresses in responses are those that callers can reach.
"""

import re
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable
from uvicorn._types import Scope as UvicornScope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_FORWARDED = b"x-forwarded-"
_HOST, _PREFIX = b"x-forwarded-host", b"x-forwarded-prefix"
_IS_HOST = re.compile(rb"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")
_IS_PREFIX = re.compile(rb"(/[\w.~-]+)*")


class Proxies:
    """Wraps the application. `trusted` are addresses and networks, comma-separated, or `*`.

    `root_path` is the prefix that a proxy removes from paths and that its own header replaces.
    """

    def __init__(self, app: ASGIApp, trusted: str, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._forwarding = ProxyHeadersMiddleware(cast("ASGI3Application", self._under), trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not self._is_forwarded(scope):
            await self._under(scope, receive, send)
            return
        host, prefix = _last(scope, _HOST), _last(scope, _PREFIX)
        if _IS_HOST.fullmatch(host):
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope["headers"] = [*others, (b"host", host)]
        if prefix and _IS_PREFIX.fullmatch(prefix.rstrip(b"/")):
            scope["root_path"] = prefix.rstrip(b"/").decode()
        await self._forwarding(
            cast("UvicornScope", scope),
            cast("ASGIReceiveCallable", receive),
            cast("ASGISendCallable", send),
        )

    def _is_forwarded(self, scope: Scope) -> bool:
        """Return whether a trusted proxy sent the request."""
        for name, _ in scope["headers"]:  # faster than `any`
            if name[: len(_FORWARDED)] == _FORWARDED:
                client = scope.get("client")
                return client is not None and client[0] in self._forwarding.trusted_hosts
        return False

    async def _under(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request below its prefix. ASGI's path includes the prefix."""
        prefix = scope.get("root_path") or self._root_path
        if prefix and scope["type"] == "http":
            scope["root_path"], scope["path"] = prefix, prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + scope.get("raw_path", b"")
        await self._app(scope, receive, send)


def _last(scope: Scope, wanted: bytes) -> bytes:
    """Return the last value of a header: the one that the nearest proxy wrote."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return b",".join(values).rpartition(b",")[2].strip()
