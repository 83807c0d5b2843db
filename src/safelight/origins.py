"""Refuse requests that a web page makes with the browser of somebody who can reach the service.

A page of another origin can send forms, and a page whose host name leads to 127.0.0.1 (DNS
rebinding) can read the answers too. Programs other than browsers send no `Origin`.
"""

from contextlib import suppress
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.errors import ForeignPage
from safelight.settings import Settings

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
ANY = "*"


def is_local(host: str) -> bool:
    """Return whether an address that a server binds to is only reachable on this machine."""
    return host in _LOCAL or host.startswith("127.")


class Origins:
    """Wraps an application. Pages of `origins`, and its own pages, may send what they like.

    An empty set of hosts allows every host.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], origins: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins

    @classmethod
    def of(cls, app: ASGIApp, settings: Settings) -> "Origins":
        """Return the application with the checks of the settings.

        Without `allowed_hosts`, a service that only this machine reaches has the names of this
        machine, and any other has all names.
        """
        named = frozenset(settings.allowed_hosts.lower().split(",")) - {""}
        own = _LOCAL | {settings.host.lower()} if is_local(settings.host) else frozenset[str]()
        hosts = frozenset[str]() if ANY in named else named | _LOCAL if named else own
        return cls(app, hosts, frozenset(settings.cors_origins.split(",")) - {""})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and (error := self._refusal(scope)) is not None:
            await _refuse(error, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ForeignPage | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = _host_name(host)
        # Some health checks of load balancers send no Host; browsers always do.
        if self._hosts and host and name not in self._hosts:
            return ForeignPage(
                f"The host {name[:60]!r} is not one of this service. If it is yours, add it to "
                "SAFELIGHT_ALLOWED_HOSTS."
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not origin or scope["method"] in _READING or self._origins & {origin, ANY}:
            return None
        # A page of another origin cannot set X-Forwarded-Host without asking first (CORS).
        forwarded = headers.get(b"x-forwarded-host", b"").decode("latin-1").lower()
        with suppress(ValueError):  # such as http://[
            if urlsplit(origin).netloc in {host, forwarded} - {""}:
                return None
        return ForeignPage(
            f"Pages of {origin[:60]!r} may not send requests to this service. If they are yours, "
            "add their origin to SAFELIGHT_CORS_ORIGINS."
        )


def _host_name(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def _refuse(error: ForeignPage, send: Send) -> None:
    reason = error.reason
    content = {"status": error.status, "reason": reason, "detail": str(error)}
    body = orjson.dumps({"type": f"urn:safelight:problem:{reason}", **content})
    head = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),  # the body was not read
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": head})
    await send({"type": "http.response.body", "body": body})
