"""OpenAI-compatible image routes: OpenAI's fields, responses and errors over the same engine.

The official client works. Fields that only OpenAI's own models have (quality, style, moderation …)
are accepted and have no effect.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from time import time

import pybase64
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from safelight.errors import (
    BadInput,
    Forbidden,
    InvalidParameter,
    Overloaded,
    SafelightError,
    Unauthorized,
    UnknownRequest,
)
from safelight.models.backend import shown_name
from safelight.serving.http.answers import common_headers, json_response, notes
from safelight.serving.http.body import Fields, parse_fields, parse_image
from safelight.serving.http.front import PATHS, Front, Respond, Route
from safelight.serving.http.openapi import fields_of, with_image, without_image
from safelight.serving.http.problems import record_failure
from safelight.serving.http.responses import IMAGE_ERRORS, MODEL_ERRORS, Shape, errors_of, of_openai
from safelight.serving.http.result_store import ResultStore
from safelight.serving.job import EditParameters, GenerateParameters, Job, Outcome, Parameters

EDITS, GENERATIONS = "/v1/images/edits", "/v1/images/generations"
OPENAI_PATHS = (EDITS, GENERATIONS)
_IMAGE_LIMIT = 10
_IGNORED = frozenset(
    {
        "model",
        "user",
        "quality",
        "style",
        "background",
        "moderation",
        "input_fidelity",
        "output_compression",
        "partial_images",
    }
)
_OPENAI_FIELDS = (
    "prompt",
    "instruction",
    "n",
    "size",
    "response_format",
    "stream",
    "output_format",
)
_SIZE = re.compile("([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_TRUE = (True, "true", "True", "1")
# Safelight's own fields, from the client's extra_body.
_OWN_FIELDS = ("steps", "guidance_scale", "image_guidance_scale", "negative_prompt", "seed")
_EDIT_ERRORS = (*MODEL_ERRORS, *IMAGE_ERRORS)
_PAGE_ERRORS = errors_of(Unauthorized, Forbidden)
_STATUS = {413: 400, 415: 400, 422: 400}  # OpenAI answers every invalid request with 400


def add_openai(api: FastAPI, front: Front) -> None:
    """Add the OpenAI-compatible routes."""
    images, name = ResultStore(), shown_name(front.settings.model)
    model = {"id": name, "object": "model", "created": int(time()), "owned_by": "safelight"}
    model["namespace"] = front.settings.namespace
    respond = _responses(images)
    edits = Route(EditParameters, parse_image, respond, _split_edit, "edit", EDITS, _size)
    generations = Route(
        GenerateParameters, parse_fields, respond, _split_generation, "generate", GENERATIONS
    )
    answers = of_openai(_status, *_EDIT_ERRORS), of_openai(_status, *MODEL_ERRORS)
    extra = {
        EDITS: with_image(_fields(edits.kind), ["prompt"], answers[0], closed=False),
        GENERATIONS: without_image(_fields(generations.kind), ["prompt"], answers[1], closed=False),
    }
    for route, summary in ((edits, "Edit an image."), (generations, "Generate images.")):
        api.post(
            route.path,
            tags=["openai"],
            summary=f"{summary} OpenAI-compatible.",
            response_class=Response,
            openapi_extra=extra[route.path],
        )(_served(front, route))

    @api.get("/v1/models", tags=["openai"], summary="The served model.", responses=_PAGE_ERRORS)
    async def models() -> dict[str, object]:
        served = front.served()
        own = {"task": served.task, "path": PATHS.get(served.task), "defaults": served.defaults}
        return {"object": "list", "data": [{**model, **own, "limits": _limits(front)}]}

    @api.get(
        "/v1/images/{name}",
        tags=["openai"],
        response_class=Response,
        summary="A stored image.",
        responses={200: {"content": {"image/png": {}}}, **errors_of(UnknownRequest, Overloaded)},
    )
    async def stored_image(name: str) -> Response:
        image = images.get(name)
        if image is None:
            raise UnknownRequest("image")
        return Response(image, media_type="image/png")


def _limits(front: Front) -> dict[str, int]:
    """Return the limits of the service that the schema of its routes does not have."""
    settings, served = front.settings, front.served()
    return {
        "steps": settings.step_limit,
        "side_pixels": front.side_limit(served),
        "side_multiple": served.multiple,
        "text_characters": settings.instruction_limit,
        "body_bytes": settings.body_limit_bytes,
    }


def _fields(kind: type[Parameters]) -> Shape:
    """Return the fields that a route accepts, except those without an effect."""
    own, _ = fields_of(kind)
    text = own.get("prompt") or own["instruction"]
    return {
        "prompt": text,
        "n": {"type": "integer", "minimum": 1, "maximum": _IMAGE_LIMIT, "default": 1},
        "size": {
            "type": "string",
            "pattern": r"^(auto|[1-9]\d{0,4}x[1-9]\d{0,4})$",
            "default": "auto",
            "description": "Width and height in pixels, such as 512x512.",
        },
        "response_format": {"enum": ["b64_json", "url"], "default": "b64_json"},
        "output_format": {"enum": ["png"], "default": "png"},
        **{name: own[name] for name in _OWN_FIELDS if name in own},
    }


def _served(front: Front, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            return await front.serve(request, route)
        except SafelightError as error:
            return as_openai(error)

    return serve


def as_openai(error: SafelightError) -> Response:
    """Return an error in OpenAI's format; `code` is Safelight's reason."""
    status = _status(error.status)
    kind = "rate_limit_error" if status == 429 else "server_error"
    if isinstance(error, BadInput):
        kind = "authentication_error" if status == 401 else "invalid_request_error"
    content = {"message": str(error), "type": kind, "param": None, "code": error.reason}
    return JSONResponse(
        {"error": content}, status, record_failure(error.reason, error.retry_after_seconds)
    )


def _status(status: int) -> int:
    return _STATUS.get(status, status)


def _split_edit(fields: Fields) -> tuple[dict[str, object], int]:
    own, number = _split(fields)
    own["instruction"] = own.pop("prompt", fields.get("instruction", ""))
    return own, number


def _split_generation(fields: Fields) -> tuple[dict[str, object], int]:
    own, number = _split(fields)
    if (size := _size(fields)) is not None:
        own["width"], own["height"] = size
    return own, number


def _split(fields: Fields) -> tuple[dict[str, object], int]:
    """Return the parameters, and the number of images. Raises InvalidParameter."""
    known = {*_OPENAI_FIELDS, *_OWN_FIELDS, *_IGNORED}
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields.get("stream") in _TRUE:
        raise InvalidParameter("stream is not supported; follow GET /v1/requests/{id}/events.")
    if fields.get("output_format", "png") != "png":
        raise InvalidParameter("output_format must be png.")
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise InvalidParameter(f"{unknown[0][:60]} is not a parameter of this route.")
    if fields.get("response_format", "b64_json") not in ("b64_json", "url"):
        raise InvalidParameter("response_format must be b64_json or url.")
    own = {name: fields[name] for name in ("prompt", *_OWN_FIELDS) if name in fields}
    return own, _count(fields.get("n", 1))


def _count(value: object) -> int:
    for number in range(1, _IMAGE_LIMIT + 1):
        if value == number or value == str(number):
            return number
    raise InvalidParameter(f"n must be a number from 1 to {_IMAGE_LIMIT}.")


def _size(fields: Fields) -> tuple[int, int] | None:
    size = fields.get("size") or "auto"
    if size == "auto":
        return None
    sides = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if sides is None:
        raise InvalidParameter("size must look like 1024x1024, or be auto.")
    return int(sides[1]), int(sides[2])


def _responses(images: ResultStore) -> Callable[[Request, Fields], Respond]:
    def respond_to(request: Request, fields: Fields) -> Respond:
        def as_item(outcome: Outcome, owner: str) -> dict[str, str]:
            if fields.get("response_format") == "url":
                name = images.put(outcome.image, owner)
                return {"url": f"{request.base_url}v1/images/{name}"}
            return {"b64_json": pybase64.b64encode(outcome.image).decode()}

        def respond(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Response:
            items = [as_item(outcome, jobs[0].owner) for outcome in outcomes]
            content = {"created": int(time()), "data": items, **notes(jobs[0], outcomes[0])}
            return json_response(content, common_headers(jobs[0], outcomes[0]))

        return respond

    return respond_to
