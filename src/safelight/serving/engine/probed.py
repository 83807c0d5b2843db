"""What is done with a worker beside the requests: runs of the canary, comparisons of outputs."""

import asyncio

from safelight.errors import Cancelled
from safelight.models.backend import ModelInfo
from safelight.serving.engine.comparing import Answer, Comparing
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.wire import schema
from safelight.serving.wire.protocol import Message


class Probed:
    """One run of the canary at a time, which a request overtakes at its next step.

    `info` describes the model that was loaded last. A worker that `is_out` gets no requests.
    """

    def __init__(self) -> None:
        self.outstanding: dict[str, QueueEntry] = {}
        self.probe: QueueEntry | None = None
        self.info: ModelInfo | None = None
        self.is_out = False
        self._pong: asyncio.Future[None] | None = None
        self._comparing = Comparing()

    @property
    def is_idle(self) -> bool:
        """Return whether the worker has neither jobs nor a run of the canary."""
        return not self.outstanding and self.probe is None

    async def compare(self, message: Message, job_id: str, seconds: float) -> Answer | None:
        """Have the worker measure two outputs for a job; None if it does not answer in time."""
        self._send_message(message)
        return await self._comparing.answer(job_id, seconds)

    async def answers(self, seconds: float) -> bool:
        """Return whether the worker answers a message within so many seconds."""
        self._pong = asyncio.get_running_loop().create_future()
        self._send(schema.Ping())
        done, _ = await asyncio.wait([self._pong], timeout=seconds)
        return bool(done)

    def _answered(self) -> None:
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)

    def _overtake(self) -> None:
        """Stop the run of the canary at its next step: a request has come."""
        if self.probe is not None and not self.probe.result.done():
            self.probe.result.set_exception(Cancelled())
            self._send(schema.Cancel(self.probe.job.id))

    def _entries(self, ids: list[str]) -> list[QueueEntry]:
        """Return those of the worker's jobs that have one of these ids."""
        if self.probe is not None and self.probe.job.id in ids:
            return [self.probe]
        return [entry for i in ids if (entry := self.outstanding.get(i)) is not None]

    def _pop(self, job_id: str) -> QueueEntry | None:
        """Remove and return a job."""
        if self.probe is not None and self.probe.job.id == job_id:
            probe, self.probe = self.probe, None
            return probe
        return self.outstanding.pop(job_id, None)

    def _take_all(self) -> list[QueueEntry]:
        """Remove and return all jobs."""
        entries = [*self.outstanding.values(), *([self.probe] if self.probe else [])]
        self.outstanding.clear()
        self.probe = None
        return entries

    def _send(self, content: schema.ToWorker) -> None:
        self._send_message(Message(content))

    def _send_message(self, message: Message) -> None:
        raise NotImplementedError
