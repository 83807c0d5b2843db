"""A worker whose model only takes virtual time. Its stage, choice and pacing are the real ones."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import repeat

from benchmarks.simulation.loop import Model
from safelight.errors import Cancelled, SafelightError, Timeout
from safelight.models.backend import ModelInfo
from safelight.serving.wire import schema
from safelight.serving.wire.process import OnMessage
from safelight.serving.wire.protocol import Message
from safelight.serving.worker.choice import Batch, Prepared, prepared
from safelight.serving.worker.reporter import report_of
from safelight.serving.worker.results import failed_result
from safelight.serving.worker.stage import Stage

STEPS = 8  # of an edit: a batch that nobody waits for any more ends after one of them


@dataclass
class Costs:
    """What the device takes: `batch` gives the seconds of a batch of n, `factors` the noise.

    `transfer` are the seconds of a message, `encode` those from the end of a batch to its images.
    """

    batch: Callable[[int], float]
    transfer: float
    encode: float
    factors: Iterator[float] = field(default_factory=lambda: repeat(1.0))


class Device:
    """One worker. `batches` are the ids of the jobs of each, and its seconds."""

    pid = None

    def __init__(self, costs: Costs, on_message: OnMessage) -> None:
        self.costs = costs
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self.batches: list[tuple[list[str], float]] = []
        self._model = Model(self._loop, self._work)
        self._stage = Stage(clock=self._loop.time)
        self._stage._changed = self._model  # the stage waits in virtual time
        info = ModelInfo("simulated", "Simulated", "none", "float32", "cpu")
        self._post(schema.Ready(info, "edit", 0.0), 0.0)

    def send(self, message: Message) -> None:
        """Receive a message after the time of a transfer."""
        self._loop.call_later(self.costs.transfer, self._receive, message.content)

    def kill(self) -> None:
        """Do nothing: a simulated worker never hangs."""

    async def stop(self) -> None:
        """End the model's thread."""
        self._stage.close()
        await asyncio.sleep(0)

    def _receive(self, content: schema.Content) -> None:
        if isinstance(content, schema.Jobs):
            for order in content.jobs:
                self._number += 1
                self._stage.expect(order.id)
                self._stage.put([prepared(order, self._number, self._loop.time)])
        elif isinstance(content, schema.Cancel):
            job = self._stage.cancel(content.id)
            if job is not None:
                self._fail([job], Cancelled())

    def _work(self) -> None:
        while (batch := self._stage.take()) is not None:
            if batch.late:
                self._fail(batch.late, Timeout(0))
            if batch.jobs:
                self._run(batch)

    def _run(self, batch: Batch) -> None:
        jobs = batch.jobs
        self._post(schema.Started([job.id for job in jobs]))
        seconds = self.costs.batch(len(jobs)) * next(self.costs.factors)
        taken, alive = 0.0, True
        for _ in range(STEPS):
            alive = not all(self._stage.cancelled(job.id) for job in jobs)
            if not alive:
                break
            self._model.sleep(seconds / STEPS)
            taken += seconds / STEPS
        self.batches.append(([job.id for job in jobs], taken))
        self._stage.pacing.finished(len(jobs), taken)
        report = report_of(batch, taken, complete=alive)
        if not alive:
            self._fail(jobs, Cancelled(), report)
            return
        self._post(schema.Results([], report))
        images = [
            schema.ImageResult(job.id, 0.0, [], None, None, job.size, False, False) for job in jobs
        ]
        self._finish(jobs)
        self._post(schema.Results(images), self.costs.transfer + self.costs.encode)

    def _fail(
        self, jobs: list[Prepared], error: SafelightError, report: schema.BatchReport | None = None
    ) -> None:
        self._finish(jobs)
        self._post(schema.Results([failed_result(job, error, None) for job in jobs], report))

    def _finish(self, jobs: list[Prepared]) -> None:
        for job in jobs:
            self._stage.forget(job.id)

    def _post(self, content: schema.Content, seconds: float | None = None) -> None:
        """Send a message, which arrives after the time of a transfer."""
        payloads = [b""] * len(content.results) if isinstance(content, schema.Results) else []
        delay = self.costs.transfer if seconds is None else seconds
        self._loop.call_later(delay, self._on_message, Message(content, payloads))
