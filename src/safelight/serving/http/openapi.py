"""OpenAPI request schemas for routes with three kinds of body, which FastAPI cannot derive."""

from collections.abc import Sequence

from safelight.serving.http.body import IMAGE_TYPES
from safelight.serving.http.responses import Responses, Shape
from safelight.serving.job import PRIORITIES, Parameters

_BINARY = {"type": "string", "format": "binary"}
_LONGEST_SECONDS = 3600  # the highest limit that a service may set
_TIMEOUT: Shape = {
    "name": "X-Request-Timeout",
    "in": "header",
    "required": False,
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": _LONGEST_SECONDS},
    "description": "Timeout in seconds: after it, the request fails. The service's own limit, "
    "SAFELIGHT_REQUEST_TIMEOUT_LIMIT_SECONDS, may be lower.",
}
_HEADERS: list[Shape] = [
    _TIMEOUT,
    {
        "name": "X-Priority",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "enum": list(PRIORITIES)},
        "description": "Requests of a higher priority are served first.",
    },
    {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "format": "uuid"},
        "description": "A UUID of yours, to follow, cancel or rate it under /v1/requests/. "
        "The same request with the same id is not done again.",
    },
]


def with_image(
    properties: Shape, required: Sequence[str], responses: Responses, *, closed: bool = True
) -> Shape:
    """Return the OpenAPI schema of a route that takes an image and these parameters.

    A route that is not `closed` accepts further ones, which have no effect.
    """
    content = _bodies(properties, ["image", *required], closed=closed)
    return {
        "parameters": [*_in_query(properties), *_HEADERS],
        "requestBody": {"required": True, "content": content},
        "responses": responses,
    }


def with_image_only(properties: Shape, responses: Responses) -> Shape:
    """Return the OpenAPI schema of a route that reads an image without the model."""
    shape = with_image(properties, (), responses)
    return {**shape, "parameters": [*_in_query(properties), _TIMEOUT]}


def without_image(
    properties: Shape, required: Sequence[str], responses: Responses, *, closed: bool = True
) -> Shape:
    """Return the OpenAPI schema of a route that takes only parameters, as JSON."""
    shape = _object(properties, required, closed=closed)
    return {
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": shape}}},
        "responses": responses,
    }


def fields_of(kind: type[Parameters]) -> tuple[Shape, list[str]]:
    """Return the fields of the parameters, and the names of the required ones."""
    schema = kind.model_json_schema()
    return schema["properties"], schema.get("required", [])


def _in_query(properties: Shape) -> list[Shape]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,  # it may be in the body instead
            "description": shape.get("description", ""),
            "schema": shape,
        }
        for name, shape in properties.items()
    ]


def _bodies(properties: Shape, required: list[str], *, closed: bool) -> Shape:
    def shaped(image: Shape) -> Shape:
        return {"schema": _object({"image": image, **properties}, required, closed=closed)}

    return {
        "multipart/form-data": shaped(_BINARY),
        "application/json": shaped({"type": "string", "format": "byte", "description": "Base64."}),
        **{media_type: {"schema": _BINARY} for media_type in IMAGE_TYPES},
    }


def _object(properties: Shape, required: Sequence[str], *, closed: bool) -> Shape:
    shape = {"type": "object", "properties": properties, "required": [*required]}
    return {**shape, "additionalProperties": False} if closed else shape
