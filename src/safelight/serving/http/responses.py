"""OpenAPI response schemas: headers, fields, and the errors of each route."""

from collections.abc import Callable
from typing import Any

from safelight.errors import (
    BodyTooLarge,
    Cancelled,
    CircuitOpen,
    Forbidden,
    HostOutOfMemory,
    IdempotencyConflict,
    ImageDamaged,
    ImageTooCostly,
    ImageTooLarge,
    InvalidOutput,
    InvalidParameter,
    MalformedBody,
    ModelError,
    NotAnImage,
    NotReady,
    OutOfMemory,
    Overloaded,
    RateLimited,
    SafelightError,
    Stopping,
    StructureCorruption,
    Timeout,
    Unauthorized,
    UnsupportedMediaType,
    UnsupportedTask,
    WorkerLost,
)
from safelight.metrics.catalog import BACKGROUND

Shape = dict[str, Any]
"""A part of an OpenAPI document."""
Responses = dict[int | str, Shape]

MODEL_ERRORS = (
    MalformedBody,
    Unauthorized,
    Forbidden,
    UnsupportedTask,
    IdempotencyConflict,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidParameter,
    RateLimited,
    Cancelled,
    ModelError,
    InvalidOutput,
    NotReady,
    Stopping,
    Overloaded,
    CircuitOpen,
    WorkerLost,
    OutOfMemory,
    HostOutOfMemory,
    Timeout,
)
READ_ERRORS = (
    MalformedBody,
    Unauthorized,
    Forbidden,
    UnsupportedTask,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidParameter,
    RateLimited,
    Cancelled,
    NotReady,
    Stopping,
    Overloaded,
    Timeout,
)
"""Of a request that never reaches the model."""
IMAGE_ERRORS = (NotAnImage, ImageDamaged, ImageTooLarge, ImageTooCostly)
_RETRYABLE = ("429", "503")


def _object(**properties: Shape) -> Shape:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def _headers(**descriptions: str) -> Shape:
    """Return headers; the names have `_` for `-`."""
    return {
        name.replace("_", "-"): {"description": text, "schema": _TEXT}
        for name, text in descriptions.items()
    }


_TEXT, _WHOLE, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
ADVICE = _array(_object(**{"because": _TEXT, "try": _TEXT}))
_NOTES = {
    "degraded": _array(_TEXT),
    "prompt_truncated": {"type": "boolean"},
    "warnings": _array({**_TEXT, "enum": [StructureCorruption.reason]}),
    "advice": ADVICE,
}
_IMAGE = _object(
    request_id=_TEXT,
    image={**_TEXT, "format": "byte"},
    media_type=_TEXT,
    width=_WHOLE,
    height=_WHOLE,
    seed=_WHOLE,
    **_NOTES,
)
_LABELS = _object(request_id=_TEXT, labels=_array(_object(label=_TEXT, score=_NUMBER)))
_ITEM = {"type": "object", "properties": {"b64_json": _TEXT, "url": _TEXT}}
_OPENAI = _object(created=_WHOLE, data=_array(_ITEM), **_NOTES)
_OPENAI_ERROR = _object(error=_object(message=_TEXT, type=_TEXT, param={}, code=_TEXT))
_PROBLEM = {
    **_object(type=_TEXT, title=_TEXT, status=_WHOLE, reason=_TEXT, detail=_TEXT),
    "description": "RFC 9457. `request_id` is present if the request is a model request.",
}
_PROBLEM["properties"]["request_id"] = _TEXT

_COMMON_HEADERS = _headers(
    X_Request_Id="The id that you sent, or else the server's, to rate or delete the request.",
    X_Safelight_Request_Id="The server's id of the request, which is in its log and its records.",
    Server_Timing="The duration of each stage, in milliseconds.",
    X_Safelight_Degraded="What the degradation ladder changed, if anything.",
)
_IMAGE_HEADERS = _COMMON_HEADERS | _headers(
    X_Safelight_Seed="The seed; it reproduces the image.",
    X_Safelight_Prompt_Truncated="`true` if the prompt was too long for the model.",
    X_Safelight_Warning="What is wrong with the image.",
    X_Safelight_Advice="How to get a better image: tokens with parameters (RFC 9651).",
)
_ID = _headers(
    X_Request_Id="The id of a request to the model: yours, or else the server's.",
    X_Safelight_Request_Id="The server's id of a request to the model.",
)
_RETRY = _headers(Retry_After="Seconds to wait before a retry, if a retry helps.")
_KEY = _headers(WWW_Authenticate="How to send an API key.")


def of_images(*kinds: type[SafelightError]) -> Responses:
    """Return the responses of a route that makes an image: its bytes, or JSON."""
    content = {"image/png": {**_TEXT, "format": "binary"}, "application/json": _IMAGE}
    return {"200": _response("The image.", content, _IMAGE_HEADERS), **errors_of(*kinds)}


def of_labels(*kinds: type[SafelightError]) -> Responses:
    """Return the responses of a route that labels an image."""
    content = {"application/json": _LABELS}
    return {"200": _response("The labels.", content, _COMMON_HEADERS), **errors_of(*kinds)}


def of_checks(*kinds: type[SafelightError]) -> Responses:
    """Return the responses of a route that checks an image before an edit."""
    unknown = {"type": ["number", "null"]}
    shape = _object(
        advice=ADVICE,
        summary={"type": ["string", "null"]},
        background=_object(
            kind={**_TEXT, "enum": list(BACKGROUND.values or ())},
            entropy_bits=_NUMBER,
            limit_bits=_NUMBER,
            edits=_WHOLE,
            success_ratio=unknown,
        ),
        image=_object(
            width=_WHOLE,
            height=_WHOLE,
            working_width=_WHOLE,
            working_height=_WHOLE,
            brightness_ratio=_NUMBER,
            contrast_ratio=_NUMBER,
        ),
        instruction_type={"type": ["string", "null"]},
    )
    advised = {name: _IMAGE_HEADERS[name] for name in ("X-Safelight-Advice",)}
    checked = _response("What was measured.", {"application/json": shape}, advised)
    return {"200": checked, **errors_of(*kinds)}


def of_openai(status_of: Callable[[int], int], *kinds: type[SafelightError]) -> Responses:
    """Return the responses of an OpenAI route; `status_of` maps our status to OpenAI's."""
    success = _response("The images.", {"application/json": _OPENAI}, _IMAGE_HEADERS)
    failure = {"application/json": _OPENAI_ERROR}
    return {"200": success, **errors_of(*kinds, content=failure, status_of=status_of)}


def errors_of(
    *kinds: type[SafelightError],
    content: dict[str, Shape] | None = None,
    status_of: Callable[[int], int] = int,
) -> Responses:
    """Return the error responses of a route, one for each status, with its reasons.

    Without the default entry, FastAPI would document a 422 response of its own.
    """
    problem = {"application/problem+json": _PROBLEM}
    reasons: dict[int, list[str]] = {}
    for kind in kinds:
        reasons.setdefault(status_of(kind.status), []).append(_sentence(kind))
    responses: Responses = {
        str(status): _response(" ".join(texts), content or problem, _failure_headers(str(status)))
        for status, texts in sorted(reasons.items())
    }
    return {**responses, "default": _response("An unexpected error.", problem, _ID)}


def _response(description: str, shapes: dict[str, Shape], headers: Shape) -> Shape:
    content = {media_type: {"schema": shape} for media_type, shape in shapes.items()}
    return {"description": description, "headers": headers, "content": content}


def _failure_headers(status: str) -> Shape:
    more = _RETRY if status in _RETRYABLE else _KEY if status == "401" else {}
    return {**_ID, **more}


def _sentence(kind: type[SafelightError]) -> str:
    return f"`{kind.reason}`: {(kind.__doc__ or '').partition(chr(10))[0]}"
