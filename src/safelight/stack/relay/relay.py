"""The alert relay's HTTP server: forwards Alertmanager's webhooks to group-chat robots."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from safelight.errors import (
    BadSetting,
    BodyTooLarge,
    MalformedBody,
    SafelightError,
    Unauthorized,
    UnknownRequest,
    UnsupportedMediaType,
)
from safelight.http_server.connections import Connections
from safelight.http_server.server import listen, server_of
from safelight.http_server.uploads import Uploads, read_body
from safelight.metrics.registry import Meter
from safelight.namespace import PATTERN
from safelight.origins import Origins
from safelight.settings import Settings
from safelight.stack.monitoring import read
from safelight.stack.receivers import secret
from safelight.stack.relay.delivery import TRY_SECONDS, Deliverer
from safelight.stack.relay.finder import Finder
from safelight.stack.relay.notice import Notice, parse
from safelight.stack.relay.robots import Outcome
from safelight.telemetry.logs import configure_logging
from safelight.tls import Certificate, renewing
from safelight.translation import Language

RELAY = "alert-relay"
READY_PATH = "/healthz"
MAX_BODY_BYTES = 4 * 1024 * 1024
_BODIES_BYTES = 16 * MAX_BODY_BYTES  # that it holds at once
# Alertmanager retries at once after a 5xx, and with the group's next notification after a 4xx.
_STATUS: Mapping[Outcome, int] = {
    "delivered": 200,
    "refused": 422,
    "unreachable": 503,
    "rate_limited": 503,
}


@dataclass(frozen=True, slots=True)
class Help:
    """What a message and its links show: the first finding for a job, and the runbooks.

    `diagnose` may block; `runbooks` takes the namespace of a service and a language, and returns
    HTML.
    """

    diagnose: Callable[[str], str] | None = None
    runbooks: Callable[[str, Language], str] | None = None
    language: Language = "en"


def serve(settings: Settings, helped: Help = Help()) -> None:
    """Run the relay until SIGINT or SIGTERM. Raises BadSetting or PortTaken."""
    if settings.monitoring is None:
        raise BadSetting("The relay has no receivers. Give the monitoring file with --monitoring.")
    monitoring = read(settings.monitoring)
    if not monitoring.receivers:
        raise BadSetting(f"The monitoring file {settings.monitoring} has no receiver.")
    host, port = settings.host, settings.alert_relay_port
    certificate, token = Certificate.of(settings), _token(settings)
    listening = listen(RELAY, host, port)
    configure_logging(settings.log_format, settings)
    meter, client = Meter("relay"), httpx.AsyncClient(timeout=TRY_SECONDS)
    deliverer = Deliverer(monitoring.relayed, meter, client)
    helped = replace(helped, language=monitoring.language)
    app = application(deliverer, meter, client, helped, certificate)
    guarded = Origins.of(Notifications(app, token), settings)
    server_of(guarded, listening, Connections(settings, meter), certificate).run()


def application(
    deliverer: Deliverer,
    meter: Meter,
    client: httpx.AsyncClient,
    helped: Help = Help(),
    certificate: Certificate | None = None,
) -> FastAPI:
    """Return the relay's routes: one per receiver, /runbooks, /healthz and /metrics."""
    finder, uploads = Finder(helped.diagnose), Uploads(_BODIES_BYTES, meter)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client, renewing(certificate):
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route(READY_PATH, methods=["GET", "HEAD"])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        exposition = await asyncio.to_thread(meter.expose, request.headers.get("accept", ""))
        return Response(exposition.body, headers={"content-type": exposition.content_type})

    @app.get("/runbooks")
    async def runbooks(namespace: str = "safelight") -> Response:
        if helped.runbooks is None or not re.fullmatch(PATTERN, namespace):
            return Response(status_code=404)
        page = await asyncio.to_thread(helped.runbooks, namespace, helped.language)
        return HTMLResponse(page)

    @app.post("/{name}")
    async def notify(name: str, request: Request) -> Response:
        try:
            notice = parse(await _body(deliverer, name, request, uploads), helped.language)
            return await _deliver(deliverer, name, await finder.explain(notice))
        except SafelightError as error:
            return JSONResponse({"reason": error.reason, "why": str(error)}, error.status)

    return app


class Notifications:
    """Wraps the relay: only JSON with the token, if there is one, gets to a receiver.

    A web page can send no JSON to another origin without asking first.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["method"] == "POST":
            error = self._refusal(Headers(scope=scope))
            if error is not None:
                content = {"reason": error.reason, "why": str(error)}
                await JSONResponse(content, error.status)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> SafelightError | None:
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return UnsupportedMediaType("Send Alertmanager's JSON, as application/json.")
        sent = headers.get("authorization", "").partition(" ")[2].strip()
        if self._token and not hmac.compare_digest(sent.encode(), self._token.encode()):
            return Unauthorized()
        return None


def _token(settings: Settings) -> str:
    """Return the token that Alertmanager must send; empty if none is set. Raises BadSetting."""
    file = settings.relay_token_file
    if file is None:
        return ""
    try:
        token = secret(file)
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token:
        raise BadSetting(
            f"SAFELIGHT_RELAY_TOKEN_FILE: {file} cannot be read or is empty. Write a token into "
            "it, for example with: openssl rand -hex 32"
        )
    return token


async def _body(deliverer: Deliverer, name: str, request: Request, uploads: Uploads) -> bytes:
    """Return the body of a request to a receiver.

    Raises UnknownRequest, MalformedBody, Overloaded, or Cancelled if the caller leaves.
    """
    if not deliverer.has(name):
        raise UnknownRequest("receiver")
    try:
        with uploads.of(request.client.host if request.client else "") as upload:
            return await read_body(request, MAX_BODY_BYTES, upload)
    except BodyTooLarge:
        raise MalformedBody(
            f"The body is larger than the limit of {MAX_BODY_BYTES} bytes. "
            "Set max_alerts in Alertmanager's webhook_configs."
        ) from None


async def _deliver(deliverer: Deliverer, name: str, notice: Notice) -> Response:
    report = await deliverer.deliver(name, notice)
    wait = report.retry_after_seconds
    return JSONResponse(
        {"outcome": report.verdict.outcome, "why": report.verdict.reason},
        _STATUS[report.verdict.outcome],
        {"retry-after": str(wait)} if wait else None,
    )
