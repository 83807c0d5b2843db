"""What `/docs` says of answers: their headers and fields, and what a route may fail with."""

from collections.abc import Callable
from typing import Any

from safelight.errors import (
    BodyTooLarge,
    Cancelled,
    CircuitOpen,
    ImageDamaged,
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

Responses = dict[int | str, dict[str, Any]]
Shape = dict[str, Any]

OF_MODEL = (
    MalformedBody,
    Unauthorized,
    UnsupportedTask,
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
    Timeout,
)
OF_PICTURES = (NotAnImage, ImageDamaged, ImageTooLarge)
_COME_AGAIN = ("429", "503")


def _object(**properties: Shape) -> Shape:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _many(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def _headers(**told: str) -> Shape:
    """Return headers, whose names are told with `_` for `-`."""
    return {
        name.replace("_", "-"): {"description": text, "schema": _TEXT}
        for name, text in told.items()
    }


_TEXT, _WHOLE, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
_NOTES = {
    "degraded": _many(_TEXT),
    "prompt_truncated": {"type": "boolean"},
    "warnings": _many({**_TEXT, "enum": [StructureCorruption.reason]}),
    "advice": _many(_object(**{"because": _TEXT, "try": _TEXT})),
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
_LABELS = _object(request_id=_TEXT, labels=_many(_object(label=_TEXT, score=_NUMBER)))
_ITEM = {"type": "object", "properties": {"b64_json": _TEXT, "url": _TEXT}}
_OPENAI = _object(created=_WHOLE, data=_many(_ITEM), **_NOTES)
_OPENAI_ERROR = _object(error=_object(message=_TEXT, type=_TEXT, param={}, code=_TEXT))
_PROBLEM = {
    **_object(type=_TEXT, title=_TEXT, status=_WHOLE, reason=_TEXT, detail=_TEXT),
    "description": "RFC 9457; `request_id` is there where the request is one to the model.",
}
_PROBLEM["properties"]["request_id"] = _TEXT

_TOLD = _headers(
    X_Request_Id="The request's id, to rate, follow, cancel or forget it by.",
    Server_Timing="Where the time went: the stages, in milliseconds.",
    X_Safelight_Degraded="What gave way, where there was not the time for all of it.",
)
_TOLD_OF_IMAGES = _TOLD | _headers(
    X_Safelight_Seed="The seed that makes the same image again.",
    X_Safelight_Prompt_Truncated="`true` where the model cannot read so long a prompt.",
    X_Safelight_Warning="What is wrong with an image that is sent all the same.",
    X_Safelight_Advice="What may give a better one: tokens with parameters (RFC 9651).",
)
_ID = _headers(X_Request_Id="The id of a request to the model.")
_AGAIN = _headers(Retry_After="Seconds after which to send it again, where that helps.")
_KEY = _headers(WWW_Authenticate="How to show a key.")


def of_images(*kinds: type[SafelightError]) -> Responses:
    """Return the answers of a route that makes an image: its bytes, or JSON."""
    good = {"image/png": {**_TEXT, "format": "binary"}, "application/json": _IMAGE}
    return {"200": _answer("The image made.", good, _TOLD_OF_IMAGES), **failures(*kinds)}


def of_labels(*kinds: type[SafelightError]) -> Responses:
    """Return the answers of a route that tells what an image shows."""
    good = {"application/json": _LABELS}
    return {"200": _answer("What the image shows.", good, _TOLD), **failures(*kinds)}


def of_openai(status_of: Callable[[int], int], *kinds: type[SafelightError]) -> Responses:
    """Return the answers of a route in OpenAI's form, which has its own status for some of ours."""
    good = _answer("The images made.", {"application/json": _OPENAI}, _TOLD_OF_IMAGES)
    bad = {"application/json": _OPENAI_ERROR}
    return {"200": good, **failures(*kinds, content=bad, status_of=status_of)}


def failures(
    *kinds: type[SafelightError],
    content: dict[str, Shape] | None = None,
    status_of: Callable[[int], int] = int,
) -> Responses:
    """Return what a route may fail with: a response for each status, with the reasons it has.

    The default is there for FastAPI too, which would else promise a 422 of a shape of its own.
    """
    problem = {"application/problem+json": _PROBLEM}
    reasons: dict[int, list[str]] = {}
    for kind in kinds:
        reasons.setdefault(status_of(kind.status), []).append(_sentence(kind))
    found: Responses = {
        str(status): _answer(" ".join(told), content or problem, _failure_headers(str(status)))
        for status, told in sorted(reasons.items())
    }
    return {**found, "default": _answer("A failure that nobody foresaw.", problem, _ID)}


def _answer(description: str, shapes: dict[str, Shape], headers: Shape) -> dict[str, Any]:
    content = {media_type: {"schema": shape} for media_type, shape in shapes.items()}
    return {"description": description, "headers": headers, "content": content}


def _failure_headers(status: str) -> Shape:
    more = _AGAIN if status in _COME_AGAIN else _KEY if status == "401" else {}
    return {**_ID, **more}


def _sentence(kind: type[SafelightError]) -> str:
    return f"`{kind.reason}`: {(kind.__doc__ or '').partition(chr(10))[0]}"
