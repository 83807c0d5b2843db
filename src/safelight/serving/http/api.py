"""The table of routes: which function serves which path."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_swagger import patch_fastapi
from starlette.exceptions import HTTPException

from safelight.errors import NotReady, SafelightError, Stopping
from safelight.serving.http.answers import image_response, labels_response
from safelight.serving.http.body import parse_fields, parse_image
from safelight.serving.http.edit_check import add_edit_check
from safelight.serving.http.events import add_requests
from safelight.serving.http.feedback import Feedback, add_feedback
from safelight.serving.http.front import PATHS, Front, Route
from safelight.serving.http.openai import OPENAI_PATHS, add_openai
from safelight.serving.http.openapi import fields_of, with_image, without_image
from safelight.serving.http.problems import on_any_error, on_http_error, on_safelight_error
from safelight.serving.http.responses import (
    IMAGE_ERRORS,
    MODEL_ERRORS,
    errors_of,
    of_images,
    of_labels,
)
from safelight.serving.job import EditParameters, GenerateParameters, PredictParameters

ROUTES = (
    Route(
        EditParameters, parse_image, image_response, lambda f: (dict(f), 1), "edit", PATHS["edit"]
    ),
    Route(
        GenerateParameters,
        parse_fields,
        image_response,
        lambda f: (dict(f), 1),
        "generate",
        PATHS["generate"],
    ),
    Route(
        PredictParameters,
        parse_image,
        labels_response,
        lambda f: (dict(f), 1),
        "predict",
        PATHS["predict"],
    ),
)
_EXTRA = {
    "edit": with_image(*fields_of(EditParameters), of_images(*MODEL_ERRORS, *IMAGE_ERRORS)),
    "generate": without_image(*fields_of(GenerateParameters), of_images(*MODEL_ERRORS)),
    "predict": with_image(*fields_of(PredictParameters), of_labels(*MODEL_ERRORS, *IMAGE_ERRORS)),
}
_SUMMARIES = {
    "edit": "Edit an image by an instruction.",
    "generate": "Generate an image from a prompt.",
    "predict": "Label an image.",
}
MODEL_ENDPOINTS = (*PATHS.values(), *OPENAI_PATHS)


def build_api(
    front: Front,
    feedback: Feedback,
    *,
    ready: Callable[[], bool],
    standing: Callable[[], dict[str, object]] = dict,
    operating: Iterable[Callable[[FastAPI], None]] = (),
    **options: Any,
) -> FastAPI:
    """Return the application; `options` go to FastAPI.

    `standing` is what /readyz tells other instances. `operating` adds routes for operators.
    """
    api = FastAPI(
        title="Safelight",
        version=version("safelight"),
        description=f"Serves {front.settings.model}.",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        **options,
    )
    patch_fastapi(api, docs_url="/docs")  # the page's scripts are served from here, not from a CDN
    api.add_exception_handler(SafelightError, on_safelight_error)
    api.add_exception_handler(HTTPException, on_http_error)
    api.add_exception_handler(Exception, on_any_error)
    _add_health(api, front, ready, standing)
    for route in ROUTES:
        _add_model(api, front, route)
    add_edit_check(api, front)
    add_openai(api, front)
    add_requests(api, front)
    add_feedback(api, front, feedback)
    for add_routes in operating:
        add_routes(api)
    _keep_schema(api)
    return api


def _keep_schema(api: FastAPI) -> None:
    """Write the schema once for each prefix: FastAPI needs milliseconds for every reader."""
    path = api.openapi_url
    (written,) = [route for route in api.routes if getattr(route, "path", None) == path]
    api.routes.remove(written)

    @lru_cache(16)
    def schema(prefix: str) -> bytes:
        servers = {"servers": [{"url": prefix}]} if prefix else {}
        return orjson.dumps(api.openapi() | servers)

    async def openapi(request: Request) -> Response:
        prefix = request.scope.get("root_path", "").rstrip("/")
        return Response(schema(prefix), media_type="application/json")

    api.add_route(str(path), openapi, include_in_schema=False)


def _add_health(
    api: FastAPI, front: Front, ready: Callable[[], bool], standing: Callable[[], dict[str, object]]
) -> None:
    """Add the health routes. The lower decorator serves, also HEAD; the upper one documents."""

    @api.get("/healthz", tags=["health"], summary="Whether the process is alive.")
    @api.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @api.get(
        "/readyz",
        tags=["health"],
        summary="Whether the model is loaded.",
        responses=errors_of(NotReady, Stopping),
    )
    @api.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
    async def readyz() -> dict[str, object]:
        if front.requests.stopping:
            raise Stopping
        if not ready():
            raise NotReady
        return {"status": "ready", **standing()}


def _add_model(api: FastAPI, front: Front, route: Route) -> None:
    @api.post(
        route.path,
        name=route.task,
        tags=["model"],
        summary=_SUMMARIES[route.task],
        response_class=Response,
        openapi_extra=_EXTRA[route.task],
    )
    async def serve(request: Request) -> Response:
        return await front.serve(request, route)
