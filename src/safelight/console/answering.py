"""Read and answer requests of the console's own routes."""

from collections.abc import AsyncIterable, Mapping
from contextlib import AsyncExitStack
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from safelight.errors import (
    BodyTooLarge,
    InvalidParameter,
    MonitoringAbsent,
    SafelightError,
    Unusable,
)
from safelight.mistakes import NOT_AN_OBJECT, NOT_JSON, words_of

_MOST_BYTES = 64 * 1024
_SEND_LESS = "Send less at once."
SMALLER_IMAGE = "Send a smaller image, or raise SAFELIGHT_BODY_LIMIT_BYTES."
ABSENT = "prometheus_absent"  # pages say it once
_BAD_GATEWAY = 502  # what the console needs does not answer
_FORM = "string_pattern_mismatch"
_MOST_NAME = 80  # characters of a parameter's name in an error
Content = TypeVar("Content", bound=BaseModel)


class Streamed(StreamingResponse):
    """A stream that gives back what it holds, however it ends."""

    def __init__(
        self,
        content: AsyncIterable[bytes],
        status: int,
        headers: Mapping[str, str],
        held: AsyncExitStack,
    ) -> None:
        super().__init__(content, status, headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._held:
            await super().__call__(scope, receive, send)


def answer(content: object, status: int = 200) -> Response:
    """Return JSON that no cache keeps."""
    return Response(
        orjson.dumps(content), status, {"cache-control": "no-store"}, "application/json"
    )


def failed(error: SafelightError) -> Response:
    """Return what a page is told of an error."""
    status = _BAD_GATEWAY if isinstance(error, Unusable) else error.status
    content = {"reason": error.reason, "detail": str(error)}
    if isinstance(error, MonitoringAbsent):
        content |= {"reason": ABSENT, "address": error.address}
    return answer(content, status)


async def read_body(
    request: Request, limit_bytes: int = _MOST_BYTES, advice: str = _SEND_LESS
) -> bytes:
    """Return a body. Raises BodyTooLarge, which says what to do."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise BodyTooLarge(limit_bytes, advice)
    return bytes(body)


async def read_json(request: Request, model: type[Content]) -> Content:
    """Return JSON as a checked model. Raises BodyTooLarge, InvalidParameter."""
    try:
        return model.model_validate_json(await read_body(request))
    except ValidationError as error:
        raise refused(error, model) from None


def read_query(request: Request, model: type[Content]) -> Content:
    """Return the parameters of an address as a checked model. Raises InvalidParameter."""
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise refused(error, model) from None


def refused(error: ValidationError, model: type[BaseModel]) -> InvalidParameter:
    """Return the error that says in words what the first mistake is.

    The description of a field says what to write if its form is wrong.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:_MOST_NAME]
    if not where:
        return InvalidParameter(NOT_JSON if first["type"] == "json_invalid" else NOT_AN_OBJECT)
    field = model.model_fields.get(where)
    if first["type"] == _FORM and field and field.description:
        return InvalidParameter(field.description)
    words = words_of(first)
    return InvalidParameter(f"{where} {words}." if words else f"{where}: {first['msg']}.")
