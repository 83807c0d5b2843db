"""The two ids of a request: the server's own, and the one that its caller sent as a key.

The server's id is unique everywhere. A key is unique only among the requests of its caller.
"""

import re

from fastapi import Request

from safelight.telemetry.record import Exchange, new_id

REQUEST_ID, SERVER_ID = "x-request-id", "x-safelight-request-id"
_KEY = REQUEST_ID.encode()
_HEADERS = "safelight.headers"
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")


def name_exchange(exchange: Exchange, request: Request) -> None:
    """Give a new request its id, and the name in its response: the key, or else the id.

    A key is a UUID. Free text is ignored, because it would get into the logs.
    """
    sent = (header(request, _KEY) or "").lower()
    exchange.id = new_id()
    exchange.name = sent if sent and _UUID.fullmatch(sent) else exchange.id


def header(request: Request, name: bytes) -> str | None:
    """Return the first header of this name, in lower case: faster than Starlette's headers."""
    scope = request.scope
    headers = scope.get(_HEADERS)
    if headers is None:
        headers = scope[_HEADERS] = dict(reversed(scope["headers"]))  # the first of a name wins
    value = headers.get(name)
    return None if value is None else str(value, "latin-1")


def id_headers(exchange: Exchange) -> dict[str, str]:
    """Return the headers with the ids of a request, if it has any."""
    if not exchange.id:
        return {}
    return {REQUEST_ID: exchange.name or exchange.id, SERVER_ID: exchange.id}
