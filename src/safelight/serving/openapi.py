"""What `/docs` says of a route that reads three kinds of body, which FastAPI cannot tell."""

from typing import Any

from safelight.serving.job import EditParameters

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp")
_BINARY = {"type": "string", "format": "binary"}


def edit_route() -> dict[str, Any]:
    """Return the OpenAPI of `POST /api/edit`."""
    schema = EditParameters.model_json_schema()
    in_query = [
        {
            "name": name,
            "in": "query",
            "required": False,  # what the body says goes before the query
            "description": shape.get("description", ""),
            "schema": shape,
        }
        for name, shape in schema["properties"].items()
    ]
    return {
        "parameters": in_query,
        "requestBody": {"required": True, "content": _bodies(schema)},
        "responses": {
            "200": {
                "description": "The edited image.",
                "content": {"image/png": {"schema": _BINARY}, "application/json": {}},
            },
            "4XX": _problem("The request cannot be served as it is."),
            "5XX": _problem("The service or its model failed, or is too busy."),
        },
    }


def _bodies(schema: dict[str, Any]) -> dict[str, Any]:
    def with_image(image: dict[str, Any]) -> dict[str, Any]:
        properties = {"image": image, **schema["properties"]}
        return {
            "schema": {
                "type": "object",
                "properties": properties,
                "required": ["image", "instruction"],
            }
        }

    return {
        "multipart/form-data": with_image(_BINARY),
        "application/json": with_image(
            {"type": "string", "format": "byte", "description": "Base64."}
        ),
        **{media_type: {"schema": _BINARY} for media_type in _IMAGE_TYPES},
    }


def _problem(description: str) -> dict[str, Any]:
    fields = {
        name: {"type": "string"} for name in ("type", "title", "reason", "detail", "request_id")
    }
    schema = {"type": "object", "properties": {"status": {"type": "integer"}, **fields}}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
