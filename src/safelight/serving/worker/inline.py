"""A worker in threads of this process: the same worker code, for tests and inside other servers."""

import asyncio
import socket
import threading

from safelight.serving.wire.process import Connection, OnMessage
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.wire.schema import Load
from safelight.serving.worker.child import run


class InlineWorker:
    """A worker whose model runs in a thread of this process."""

    def __init__(self, connection: Connection, thread: threading.Thread) -> None:
        self._connection = connection
        self._thread = thread
        self.pid: int | None = None

    @classmethod
    async def start(cls, order: Load, on_message: OnMessage, threads: int = 0) -> "InlineWorker":  # noqa: ARG003 - same signature as WorkerProcess
        """Start a worker that loads a model."""
        own_end, worker_end = socket.socketpair()
        channel = Channel(worker_end)
        thread = threading.Thread(
            target=run, args=(channel, channel.close), name="safelight-model", daemon=True
        )
        thread.start()
        worker = cls(await Connection.open(own_end, on_message), thread)
        worker.send(Message(order))
        return worker

    def send(self, message: Message) -> None:
        """Send a message. If the worker is gone, drop it."""
        self._connection.send(message)

    def kill(self) -> None:
        """Close the connection. A thread cannot be killed, but its results are ignored."""
        self._connection.abort()

    async def stop(self) -> None:
        """Close the connection and wait until the thread has finished its step."""
        self._connection.abort()
        await asyncio.to_thread(self._thread.join, 10)
