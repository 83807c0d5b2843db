"""A worker in threads of this process: the same engine, for tests and inside other servers."""

import asyncio
import socket
import threading
from typing import Any

from safelight.serving.wire.process import Hear, Line, write_now
from safelight.serving.wire.protocol import Channel, Kind, Message, encode
from safelight.serving.worker.child import run


class InlineWorker:
    """A worker whose model is made by a thread of this process."""

    def __init__(self, sock: socket.socket, transport: Any, thread: threading.Thread) -> None:
        self._sock = sock
        self._transport = transport
        self._thread = thread
        self.pid: int | None = None

    @classmethod
    async def start(cls, order: dict[str, Any], hear: Hear, threads: int = 0) -> "InlineWorker":  # noqa: ARG003 - the carriers' common signature
        """Start a worker and order it to load the model."""
        ours, theirs = socket.socketpair()
        channel = Channel(theirs)
        thread = threading.Thread(
            target=run, args=(channel, channel.close), name="safelight-model", daemon=True
        )
        thread.start()
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: Line(hear), sock=ours
        )
        worker = cls(ours, transport, thread)
        worker.send(Message(Kind.LOAD, order))
        return worker

    def send(self, message: Message) -> None:
        """Queue a message; one to a worker that is gone is dropped: its end is heard anyway."""
        if not self._transport.is_closing():
            write_now(self._sock, self._transport, encode(message))

    def kill(self) -> None:
        """Let go of the worker: a thread cannot be ended, but what it makes is heard no more."""
        self._transport.abort()

    async def stop(self) -> None:
        """Let go of the worker and wait until its thread has reached a step's end."""
        self._transport.abort()
        await asyncio.to_thread(self._thread.join, 10)
