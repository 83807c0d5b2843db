"""The HTTP surface: turns requests into Jobs and Outcomes into answers, and nothing else."""

import asyncio
import secrets
from collections.abc import Callable
from importlib.metadata import version
from time import perf_counter
from typing import Any
from uuid import uuid4

import pybase64
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi_swagger import patch_fastapi
from starlette.exceptions import HTTPException

from safelight.errors import NotReady, SafelightError, Timeout
from safelight.metrics.catalog import IN_FLIGHT
from safelight.metrics.registry import Meter
from safelight.quality.instructions import Taxonomy
from safelight.serving.body import check_parameters, measure_image, parse_body, read_body
from safelight.serving.job import Handler, Job, Outcome
from safelight.serving.openapi import edit_route
from safelight.serving.problems import (
    REQUEST_ID,
    on_any_error,
    on_http_error,
    on_safelight_error,
)
from safelight.settings import Settings
from safelight.telemetry.record import Exchange, current_exchange
from safelight.telemetry.timeline import Timeline

EDIT = "/api/edit"


def build_api(
    settings: Settings,
    handle: Handler,
    *,
    ready: Callable[[], bool],
    taxonomy: Taxonomy,
    meter: Meter,
    **options: Any,
) -> FastAPI:
    """Return the application; `options` go to FastAPI."""
    api = FastAPI(
        title="Safelight",
        version=version("safelight"),
        description=f"Edits images with {settings.model}.",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        **options,
    )
    patch_fastapi(api, docs_url="/docs")  # the page's scripts come from here, not from a CDN
    api.add_exception_handler(SafelightError, on_safelight_error)
    api.add_exception_handler(HTTPException, on_http_error)
    api.add_exception_handler(Exception, on_any_error)
    _add_health(api, ready)
    _add_edit(api, settings, handle, taxonomy, meter)
    return api


def _add_health(api: FastAPI, ready: Callable[[], bool]) -> None:
    @api.get("/healthz", tags=["health"], summary="Whether the process is alive.")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @api.get("/readyz", tags=["health"], summary="Whether the model is loaded.")
    async def readyz() -> dict[str, str]:
        if not ready():
            raise NotReady
        return {"status": "ready"}


def _add_edit(
    api: FastAPI, settings: Settings, handle: Handler, taxonomy: Taxonomy, meter: Meter
) -> None:
    in_flight = meter.child(IN_FLIGHT)

    @api.post(
        EDIT,
        tags=["editing"],
        summary="Edit an image by an instruction.",
        response_class=Response,
        openapi_extra=edit_route(),
    )
    async def edit(request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + settings.request_timeout_seconds
        exchange = _begin()
        in_flight.inc()
        try:
            with exchange.timeline.stage("receive"):
                body = await _receive(request, settings, deadline)
            with exchange.timeline.stage("validate"):
                image, fields = await parse_body(request, body)
                asked = check_parameters(fields, settings)
                # Before the image is looked at: a bad one counts as a failure of its type.
                exchange.instruction_type = taxonomy.classify(asked.instruction)
                size = measure_image(image, settings)
            exchange.seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
            job = Job(exchange.id, image, size, asked, exchange.seed, deadline, exchange)
            outcome = await handle(job)
            return _answer(
                job, outcome, as_json="application/json" in request.headers.get("accept", "")
            )
        finally:
            in_flight.inc(-1)


async def _receive(request: Request, settings: Settings, deadline: float) -> bytes:
    try:
        async with asyncio.timeout_at(deadline):
            return await read_body(request, settings.body_limit_bytes)
    except TimeoutError:
        raise Timeout(settings.request_timeout_seconds) from None


def _begin() -> Exchange:
    """Return the request's exchange; without a probe in front, one of our own."""
    exchange = current_exchange() or Exchange(Timeline(perf_counter()))
    exchange.id = uuid4().hex
    exchange.is_model_request = True
    return exchange


def _answer(job: Job, outcome: Outcome, *, as_json: bool) -> Response:
    width, height = outcome.size
    headers = {REQUEST_ID: job.id, "x-safelight-seed": str(job.seed)}
    headers["server-timing"] = _server_timing(job.exchange.timeline)
    if not as_json:
        return Response(outcome.image, media_type=outcome.media_type, headers=headers)
    content = {
        "request_id": job.id,
        "image": pybase64.b64encode(outcome.image).decode(),
        "media_type": outcome.media_type,
        "width": width,
        "height": height,
        "seed": job.seed,
    }
    return JSONResponse(content, headers=headers)


def _server_timing(timeline: Timeline) -> str:
    """Return the stages so far as a Server-Timing header (W3C), which browsers draw."""
    return ", ".join(
        f"{stage};dur={seconds * 1e3:.1f}" for stage, seconds in timeline.seconds.items()
    )
