"""OpenAPI request schemas for routes with three kinds of body, which FastAPI cannot derive."""

from safelight.serving.http.body import IMAGE_TYPES
from safelight.serving.http.responses import Responses, Shape
from safelight.serving.job import PRIORITIES, Parameters

_BINARY = {"type": "string", "format": "binary"}
_HEADERS: list[Shape] = [
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "required": False,
        "schema": {"type": "number"},
        "description": "Timeout in seconds: after it, the request fails.",
    },
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


def with_image(kind: type[Parameters], responses: Responses, text: str = "") -> Shape:
    """Return the OpenAPI schema of a route that takes an image and these parameters.

    `text` is the route's name for the field `instruction`, if it differs.
    """
    properties = _properties(kind, text)
    required = ["image", *kind.model_json_schema().get("required", [])]
    named = [text if text and name == "instruction" else name for name in required]
    return {
        "parameters": [*_in_query(properties), *_HEADERS],
        "requestBody": {"required": True, "content": _bodies(properties, named)},
        "responses": responses,
    }


def without_image(kind: type[Parameters], responses: Responses) -> Shape:
    """Return the OpenAPI schema of a route that takes only parameters, as JSON."""
    schema = kind.model_json_schema()
    shape = {
        "type": "object",
        "properties": _properties(kind, ""),
        "required": schema.get("required", []),
    }
    return {
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": shape}}},
        "responses": responses,
    }


def _properties(kind: type[Parameters], text: str) -> Shape:
    properties: Shape = kind.model_json_schema()["properties"]
    return {text if text and name == "instruction" else name: p for name, p in properties.items()}


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


def _bodies(properties: Shape, required: list[str]) -> Shape:
    def shaped(image: Shape) -> Shape:
        fields = {"image": image, **properties}
        return {"schema": {"type": "object", "properties": fields, "required": required}}

    return {
        "multipart/form-data": shaped(_BINARY),
        "application/json": shaped({"type": "string", "format": "byte", "description": "Base64."}),
        **{media_type: {"schema": _BINARY} for media_type in IMAGE_TYPES},
    }
