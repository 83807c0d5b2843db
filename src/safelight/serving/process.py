"""One worker process from the parent's side: starts it, talks to it, and knows when it is gone."""

import asyncio
import socket
import sys
from typing import Any

from safelight.models.backend import ModelOrder
from safelight.serving.protocol import Kind, Message, encode_head, receive
from safelight.settings import Settings, program_environment

_DEFAULTS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    # Threads that spin long at a barrier make a step tens of times slower where others want the
    # cores.
    "GOMP_SPINCOUNT": "3000",
}


class WorkerProcess:
    """A started worker and this end of its socket pair."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, settings: Settings) -> "WorkerProcess":
        """Start a worker and order it to load the model; READY or UNUSABLE comes as a message."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "safelight.serving.worker", str(theirs.fileno()),
                pass_fds=[theirs.fileno()], env=program_environment(_DEFAULTS),
            )  # fmt: skip
        reader, writer = await asyncio.open_connection(sock=ours)
        worker = cls(process, reader, writer)
        order = {"model": _order(settings), "gpu_interval_seconds": settings.gpu_interval_seconds}
        worker.send(Message(Kind.LOAD, order))
        return worker

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Queue a message; one to a worker that is gone is dropped: its end is heard anyway."""
        self._writer.write(encode_head(message))
        self._writer.write(message.payload)

    async def receive(self) -> Message | None:
        """Return the next message, or None once the worker is gone."""
        return await receive(self._reader)

    def kill(self) -> None:
        """End the worker by force; its end is heard of by `receive`."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """End the worker, by force if it is at work, and wait until it is gone."""
        self._writer.close()
        self.kill()
        await self._process.wait()


def _order(settings: Settings) -> dict[str, Any]:
    return ModelOrder(
        settings.model, settings.device, settings.precision, str(settings.cache_folder)
    ).as_dict()
