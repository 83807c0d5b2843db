"""Error responses: RFC 9457 problem documents with a `reason` from the closed set."""

from math import ceil

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from safelight.errors import InternalError, SafelightError, Unauthorized
from safelight.reasons import reason_of_status
from safelight.serving.http.naming import REQUEST_ID, id_headers
from safelight.telemetry.scope import current_exchange

MEDIA_TYPE = "application/problem+json"


async def on_safelight_error(_request: Request, error: Exception) -> Response:
    """Return the response for an error of Safelight's, and free what the error keeps."""
    assert isinstance(error, SafelightError)
    _forget_frames(error)
    return problem(error.status, error.reason, str(error), error.retry_after_seconds)


def _forget_frames(error: BaseException | None) -> None:
    """Free the frames that an error went through, and so the body that its request had.

    Some of them refer to the error: only a garbage collection would free them, maybe much later.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Return the response for an error of the router: an unknown path or method."""
    assert isinstance(error, HTTPException)
    response = problem(
        error.status_code, reason_of_status(error.status_code), f"{error.detail}. See /docs."
    )
    response.headers.update(error.headers or {})
    return response


async def on_any_error(_request: Request, _error: Exception) -> Response:
    """Return the response for an unexpected error. Only the log gets its traceback."""
    failure = InternalError()
    return problem(failure.status, failure.reason, str(failure))


def problem(
    status: int, reason: str, detail: str, retry_after_seconds: float | None = None
) -> Response:
    """Return a problem document, and record its reason in the request's exchange."""
    headers = record_failure(reason, retry_after_seconds)
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


def record_failure(reason: str, retry_after_seconds: float | None) -> dict[str, str]:
    """Record a failure in the request's exchange; return the headers for its response."""
    headers = {"retry-after": str(ceil(retry_after_seconds))} if retry_after_seconds else {}
    if reason == Unauthorized.reason:
        headers["www-authenticate"] = "Bearer"
    exchange = current_exchange()
    if exchange is not None:
        exchange.error = reason
        headers |= id_headers(exchange)
    return headers
