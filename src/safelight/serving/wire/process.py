"""Start a worker process and exchange messages with it, from the API process's side."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Protocol, cast

from safelight.serving.wire.protocol import Frames, Message, ProtocolError, encode
from safelight.serving.wire.schema import Load
from safelight.settings import program_environment
from safelight.telemetry.logs import log_environment

_BUFFERS_PER_CALL = 1000  # just below the kernel's limit, IOV_MAX
OnMessage = Callable[[Message | None], None]

_DEFAULTS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    # Threads that spin at a barrier make a step tens of times slower if others use the cores.
    "GOMP_SPINCOUNT": "3000",
}


class WorkerConnection(Protocol):
    """A started worker. Its end is reported by a message None."""

    pid: int | None

    def send(self, message: Message) -> None:
        """Send a message. If the worker is gone, drop it."""

    def kill(self) -> None:
        """End the worker by force."""

    async def stop(self) -> None:
        """End the worker, by force if it is busy, and wait until it is gone."""


class Receiver(asyncio.Protocol):
    """The API process's end of the socket pair: calls back with each message, finally with None."""

    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's classes.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._on_message(message)
        except ProtocolError:
            if self._transport is not None:
                self._transport.abort()  # a worker that sends garbage counts as lost
            raise

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._on_message(None)


class Connection:
    """A connected socket pair: writes messages at once."""

    def __init__(self, sock: socket.socket, transport: asyncio.WriteTransport) -> None:
        self._sock = sock
        self._transport = transport

    @classmethod
    async def open(cls, sock: socket.socket, on_message: OnMessage) -> "Connection":
        """Connect `on_message` to a socket."""
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: Receiver(on_message), sock=sock
        )
        return cls(sock, transport)

    def send(self, message: Message) -> None:
        """Send a message. If the worker is gone, drop it."""
        if not self._transport.is_closing():
            write_now(self._sock, self._transport, encode(message))

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()


def write_now(sock: socket.socket, transport: asyncio.WriteTransport, pieces: list[bytes]) -> None:
    """Write what the socket takes now, and leave the rest to the event loop.

    An event loop may delay writes until it has done everything else that is due. A device would be
    idle meanwhile.
    """
    if transport.get_write_buffer_size():
        transport.writelines(pieces)
        return
    try:
        sent = sock.sendmsg(pieces[:_BUFFERS_PER_CALL], (), socket.MSG_DONTWAIT)
    except BlockingIOError:  # the socket's buffer is full
        sent = 0
    except ConnectionError:  # the worker is gone; its last messages are still to be read
        return
    for piece in pieces:
        if sent < len(piece):
            transport.write(memoryview(piece)[sent:])
        sent = max(0, sent - len(piece))


class WorkerProcess:
    """A worker in its own process."""

    def __init__(self, process: asyncio.subprocess.Process, connection: Connection) -> None:
        self._process = process
        self._connection = connection
        self.pid: int | None = process.pid

    @classmethod
    async def start(cls, order: Load, on_message: OnMessage, threads: int = 0) -> "WorkerProcess":
        """Start a worker that loads a model; `threads` limits its CPU threads (0: no limit)."""
        own_end, worker_end = socket.socketpair()
        limits = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        with worker_end:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "safelight.serving.worker.child",
                str(worker_end.fileno()),
                pass_fds=[worker_end.fileno()],
                env=program_environment({**_DEFAULTS, **limits}, **log_environment()),
            )
        try:
            connection = await Connection.open(own_end, on_message)
        except BaseException:  # stopped during the start: the process must not outlive this one
            own_end.close()
            process.kill()
            await process.wait()
            raise
        worker = cls(process, connection)
        worker.send(Message(order))
        return worker

    def send(self, message: Message) -> None:
        """Send a message. If the worker is gone, drop it."""
        self._connection.send(message)

    def kill(self) -> None:
        """End the worker by force."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """End the worker, by force if it is busy, and wait until it is gone."""
        self._connection.abort()
        self.kill()
        await self._process.wait()
