"""The alert relay: takes Alertmanager's webhooks and has them brought to the robots."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from safelight.errors import BadSetting, MalformedBody, SafelightError, UnknownRequest
from safelight.metrics.registry import Meter
from safelight.settings import Settings
from safelight.stack.monitoring import read
from safelight.stack.programs import Program, require_free_port
from safelight.stack.relay.courier import TRY_SECONDS, Courier
from safelight.stack.relay.notice import Notice, parse
from safelight.stack.relay.robots import Outcome
from safelight.telemetry.logs import configure_logging

RELAY = "alert-relay"
READY_PATH = "/healthz"
MOST_BODY_BYTES = 4 * 1024 * 1024
# Alertmanager asks again at once after a 5xx, and with the group's next notification after a 4xx.
_STATUS: Mapping[Outcome, int] = {
    "delivered": 200,
    "refused": 422,
    "unreachable": 503,
    "rate_limited": 503,
}


def serve(settings: Settings) -> None:
    """Run the relay until it is told to stop. Raises BadSetting or PortTaken."""
    if settings.monitoring is None:
        raise BadSetting("The relay needs to know its receivers. Name their file: --monitoring.")
    receivers = read(settings.monitoring).relayed
    if not receivers:
        raise BadSetting(
            f"The monitoring file {settings.monitoring} names no receiver for the relay; "
            "Alertmanager tells the others by itself."
        )
    host, port = settings.host, settings.alert_relay_port
    require_free_port(Program(RELAY, (), host, port, READY_PATH))
    configure_logging(settings.log_format)
    meter, client = Meter("relay"), httpx.AsyncClient(timeout=TRY_SECONDS)
    app = application(Courier(receivers, meter, client), meter, client)
    config = uvicorn.Config(app, host, port, log_config=None, access_log=False, proxy_headers=False)
    _Server(config).run()


def application(courier: Courier, meter: Meter, client: httpx.AsyncClient) -> FastAPI:
    """Return the relay's routes: one for each receiver, and what says how it fares."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get(READY_PATH)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        shown = await asyncio.to_thread(meter.expose, request.headers.get("accept", ""))
        return Response(shown.body, headers={"content-type": shown.content_type})

    @app.post("/{name}")
    async def notify(name: str, request: Request) -> Response:
        try:
            return await _brought(courier, name, await _notice(courier, name, request))
        except SafelightError as error:
            return JSONResponse({"reason": error.reason, "why": str(error)}, error.status)

    return app


class _Server(uvicorn.Server):
    """uvicorn's server, ending with exit code 0 when asked to stop, instead of by the signal."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _notice(courier: Courier, name: str, request: Request) -> Notice:
    """Return what is to be told. Raises UnknownRequest or MalformedBody."""
    if not courier.knows(name):
        raise UnknownRequest("receiver")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise MalformedBody(
                f"The body is larger than the limit of {MOST_BODY_BYTES} bytes. "
                "Set max_alerts in Alertmanager's webhook_configs."
            )
    return parse(bytes(body))


async def _brought(courier: Courier, name: str, notice: Notice) -> Response:
    report = await courier.bring(name, notice)
    wait = report.retry_after_seconds
    return JSONResponse(
        {"outcome": report.verdict.outcome, "why": report.verdict.why},
        _STATUS[report.verdict.outcome],
        {"retry-after": str(wait)} if wait else None,
    )
