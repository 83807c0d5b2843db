"""Turns failures into RFC 9457 problem documents, whose `reason` is from the closed set."""

from math import ceil

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from safelight.errors import InternalError, SafelightError, Unauthorized
from safelight.reasons import reason_of_status
from safelight.telemetry.record import current_exchange

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "x-request-id"


async def on_safelight_error(_request: Request, error: Exception) -> Response:
    """Answer a failure of ours: its status, its reason, its sentence."""
    assert isinstance(error, SafelightError)
    return problem(error.status, error.reason, str(error), error.retry_after_seconds)


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer what the router refuses: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    answer = problem(
        error.status_code, reason_of_status(error.status_code), f"{error.detail}. See /docs."
    )
    answer.headers.update(error.headers or {})
    return answer


async def on_any_error(_request: Request, _error: Exception) -> Response:
    """Answer what nobody foresaw; the log has the trace, the caller has none of it."""
    unforeseen = InternalError()
    return problem(unforeseen.status, unforeseen.reason, str(unforeseen))


def problem(
    status: int, reason: str, detail: str, retry_after_seconds: float | None = None
) -> Response:
    """Return a problem document, and enter its reason in the request's exchange."""
    headers = note(reason, retry_after_seconds)
    content = {
        "type": f"urn:safelight:problem:{reason}",
        "title": reason.replace("_", " ").capitalize(),
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    if REQUEST_ID in headers:
        content["request_id"] = headers[REQUEST_ID]
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def note(reason: str, retry_after_seconds: float | None) -> dict[str, str]:
    """Enter a failure in the request's exchange; return the headers that tell of it."""
    headers = {"retry-after": str(ceil(retry_after_seconds))} if retry_after_seconds else {}
    if reason == Unauthorized.reason:
        headers["www-authenticate"] = "Bearer"
    exchange = current_exchange()
    if exchange is not None:
        exchange.error = reason
        if exchange.id:
            headers[REQUEST_ID] = exchange.id
    return headers
