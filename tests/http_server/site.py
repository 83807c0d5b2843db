"""A real server with a small application, raw connections, and a clock that the tests turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from safelight.errors import Overloaded
from safelight.http_server.connections import Connections, Held
from safelight.http_server.server import Server, listen, server_of
from safelight.http_server.uploads import Uploads, read_body
from safelight.metrics.catalog import CONNECTIONS_CLOSED
from safelight.metrics.registry import Meter
from safelight.settings import load
from safelight.stories.replay import free_port
from safelight.tls import Certificate
from tests.reading import FakeClock, value

LARGE = b"x" * 8_000_000
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Site:
    """A server with a small application, and its clock."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.meter = FakeClock(), Meter("tests")
        self.writers: list[asyncio.StreamWriter] = []
        self.port, self.goes_on = free_port(), asyncio.Event()
        self.settings = load(port=self.port, namespace="tests", **settings)
        routes = [
            Route("/", lambda _request: PlainTextResponse("ok")),
            Route("/large", lambda _request: Response(LARGE)),
            Route("/wait", self._wait),
            Route("/read", self._read, methods=["POST"]),
            Route("/upload", self._upload, methods=["POST"]),
        ]
        chosen = self.settings
        self.uploads = Uploads(
            chosen.uploads_limit_bytes, self.meter, chosen.upload_bytes_per_second
        )
        app = Starlette(routes=routes)
        certificate = Certificate.of(self.settings)
        self.server: Server = server_of(
            app,
            listen("the API", self.settings.host, self.port),
            Connections(self.settings, self.meter, self.clock),
            certificate,
        )

    async def _wait(self, _request: Request) -> Response:
        await self.goes_on.wait()
        return PlainTextResponse("late")

    async def _read(self, request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def _upload(self, request: Request) -> Response:
        assert request.client is not None
        try:
            with self.uploads.of(request.client.host) as upload:
                body = await read_body(request, self.settings.body_limit_bytes, upload)
        except Overloaded as error:
            return PlainTextResponse(str(error), error.status)
        return PlainTextResponse(str(len(body)))

    async def connect(self, sent: bytes = b"", address: str = "127.0.0.1") -> Connection:
        """Connect from an address, and send something."""
        own = address, 0
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=own)
        self.writers.append(writer)
        writer.write(sent)
        await writer.drain()
        return reader, writer

    def held(self) -> list[Held]:
        return list(self.server.places._held.values())

    def closed(self, reason: str) -> float:
        return value(self.meter, CONNECTIONS_CLOSED, reason=reason)

    def sweep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.server.places.sweep()


@asynccontextmanager
async def site(**settings: Any) -> AsyncIterator[Site]:
    running = Site(**settings)
    serving = asyncio.create_task(running.server._serve([running.server._listener]))
    try:
        async with asyncio.timeout(30):
            yield running
    finally:
        running.goes_on.set()
        for writer in running.writers:
            writer.transport.abort()
        await asyncio.gather(*(w.wait_closed() for w in running.writers), return_exceptions=True)
        running.server.should_exit = True
        await serving


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return all that comes until the connection ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def eventually(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.005)


async def answered(connection: Connection) -> bytes:
    """Return the status line of a response."""
    return await connection[0].readline()


def problem(response: bytes) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(response.partition(b"\r\n\r\n")[2])
    return document
