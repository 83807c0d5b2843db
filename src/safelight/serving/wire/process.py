"""A worker in a process of its own, from its parent's side; `inline.py` has the other carrier."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

from safelight.serving.wire.protocol import Frames, Kind, Message, ProtocolError, encode
from safelight.settings import program_environment
from safelight.telemetry.logs import log_environment

_MOST_PIECES = 1000  # what one call to the kernel takes, nearly (IOV_MAX)
Hear = Callable[[Message | None], None]

_DEFAULTS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    # Threads that spin long at a barrier make a step tens of times slower where others want the
    # cores.
    "GOMP_SPINCOUNT": "3000",
}


class Carrier(Protocol):
    """A started worker, from its parent's side."""

    pid: int | None

    def send(self, message: Message) -> None:
        """Queue a message; one to a worker that is gone is dropped: its end is heard anyway."""

    def kill(self) -> None:
        """End the worker by force; its end is heard."""

    async def stop(self) -> None:
        """End the worker, by force if it is at work, and wait until it is gone."""


class Line(asyncio.Protocol):
    """Our end of the socket pair: tells of each message, and at last of None."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._frames = Frames()
        self._transport: Any = None  # uvloop's is none of asyncio's classes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._hear(message)
        except ProtocolError:
            self._transport.abort()  # a worker that talks nonsense is as good as dead
            raise

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._hear(None)


def write_now(sock: socket.socket, transport: Any, pieces: list[bytes]) -> None:
    """Write at once what the socket takes, and leave the rest to the loop.

    A loop may gather writes until it has done all else that is due; a device would idle meanwhile.
    """
    if transport.get_write_buffer_size():
        transport.writelines(pieces)
        return
    try:
        sent = sock.sendmsg(pieces[:_MOST_PIECES], (), socket.MSG_DONTWAIT)
    except BlockingIOError:  # it is full
        sent = 0
    except ConnectionError:  # the other end is gone; what it said last is still to be read
        return
    for piece in pieces:
        if sent < len(piece):
            transport.write(memoryview(piece)[sent:])
        sent = max(0, sent - len(piece))


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(
        self, process: asyncio.subprocess.Process, sock: socket.socket, transport: Any
    ) -> None:
        self._process = process
        self._sock = sock
        self._transport = transport
        self.pid: int | None = process.pid

    @classmethod
    async def start(cls, order: dict[str, Any], hear: Hear, threads: int = 0) -> "WorkerProcess":
        """Start a worker and order it to load the model; `threads` bounds its use of the cores."""
        ours, theirs = socket.socketpair()
        limits = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "safelight.serving.worker.child",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                env=program_environment({**_DEFAULTS, **limits}, **log_environment()),
            )
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: Line(hear), sock=ours
            )
        except BaseException:  # we are stopped while it starts: it must not outlive us
            ours.close()
            process.kill()
            await process.wait()
            raise
        worker = cls(process, ours, transport)
        worker.send(Message(Kind.LOAD, order))
        return worker

    def send(self, message: Message) -> None:
        """Queue a message; one to a worker that is gone is dropped: its end is heard anyway."""
        if not self._transport.is_closing():
            write_now(self._sock, self._transport, encode(message))

    def kill(self) -> None:
        """End the worker by force; its end is heard."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """End the worker, by force if it is at work, and wait until it is gone."""
        self._transport.abort()
        self.kill()
        await self._process.wait()
