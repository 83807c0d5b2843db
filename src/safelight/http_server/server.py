"""The HTTP server: uvicorn, with bounds on connections and with an end that loses nothing."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from safelight.errors import listen_error
from safelight.http_server.connection import Connection
from safelight.http_server.connections import Connections, Listener
from safelight.tls import Certificate

_TICKS_PER_SECOND = 10  # of uvicorn
_UNSENT_BYTES = 128 * 1024  # of a connection, in the kernel, beyond what is on its way


def server_of(
    app: ASGIApp,
    listening: socket.socket,
    connections: Connections,
    certificate: Certificate | None = None,
    on_stop: Callable[[], None] = lambda: None,
) -> "Server":
    """Return a server of the connections that a socket of `listen` accepts."""
    settings = connections.settings
    # uvicorn writes a warning for each malformed request, so a caller could fill the log. They are
    # counted instead.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=Connection.of(connections),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # `Proxies` reads them
        # Not uvloop: it delays writes until other events are handled; workers would wait.
        loop="asyncio",
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=max(1, ceil(settings.grace_seconds)),
    )
    if certificate is not None:
        certificate.secure(config)
    return Server(config, Listener.of(listening, connections), on_stop, connections)


class Server(uvicorn.Server):
    """uvicorn's server, which ends with exit code 0 after SIGTERM instead of by the signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        on_stop: Callable[[], None],
        connections: Connections,
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._on_stop = on_stop
        self.places = connections

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal or `should_exit`."""
        super().run(sockets or [self._listener])

    async def on_tick(self, counter: int) -> bool:
        """Close slow connections, once a second."""
        if counter % _TICKS_PER_SECOND == 0:
            self.places.sweep()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the service first, then the server."""
        self._on_stop()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def listen(service: str, host: str, port: int) -> socket.socket:
    """Return a socket that listens for a service. Raises PortTaken, BadSetting."""
    try:
        listening = socket.create_server((host, port), family=_family(host), backlog=2048)
    except OSError as error:
        raise listen_error(service, host, port, error) from None
    # Accepted connections inherit these. Without the first, a response in two packets is delayed by
    # 40 ms. Without the second, the kernel takes megabytes for each caller who does not read.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    return listening


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
