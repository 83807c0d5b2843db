"""Comparisons of outputs that a worker was asked for and has not answered yet."""

import asyncio

from safelight.serving.wire.schema import Compared

Answer = tuple[Compared, bytes]  # with a thumbnail of the second output, empty if none is kept


class Comparing:
    """The questions to one worker. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def answer(self, job_id: str, limit_seconds: float) -> Answer | None:
        """Wait for an answer; None if the worker is lost or takes too long."""
        found: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[job_id] = found
        try:
            await asyncio.wait([found], timeout=limit_seconds)
        finally:
            del self._waiting[job_id]
        return found.result() if found.done() and not found.cancelled() else None

    def receive(self, compared: Compared, image: bytes) -> None:
        """Take an answer."""
        found = self._waiting.get(compared.id)
        if found is not None and not found.done():
            found.set_result((compared, image))

    def lost(self) -> None:
        """Give up all questions: the worker is gone."""
        for found in self._waiting.values():
            found.cancel()
