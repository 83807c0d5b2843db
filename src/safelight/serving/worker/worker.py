"""The worker: decode images, run the model and encode results, all three at the same time.

Jobs are decoded as they arrive, the model thread runs one batch after another, and other threads
check and encode the outputs. Only the model thread touches the model.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Literal

from safelight.errors import Cancelled, HostOutOfMemory, OutOfMemory, SafelightError, Timeout
from safelight.models.backend import Backend, OnStep, Output
from safelight.probes.diffusers import DiffusersProbe
from safelight.probes.torch import compilations
from safelight.quality.validity import Limits
from safelight.reasons import error_from_reason
from safelight.serving.wire import schema
from safelight.serving.wire.protocol import Channel, Message
from safelight.serving.worker.appraisal import NO_SAMPLING, Appraisal, Sampling
from safelight.serving.worker.choice import Batch, Prepared
from safelight.serving.worker.intake import Intake
from safelight.serving.worker.likeness import Likeness
from safelight.serving.worker.memory import Memory, is_poisoned
from safelight.serving.worker.reporter import Call, Reporter, report_of
from safelight.serving.worker.results import as_failure, call_of
from safelight.serving.worker.stage import Stage
from safelight.serving.worker.steps import Steps

_SHORT_SECONDS = 0.005  # the start of a shorter batch is not announced: it would be over too soon
_SPIN_SECONDS = 0.002
_LATE = "It could not be finished before its deadline."


class Worker:
    """Runs the jobs that arrive on a channel, until it closes or the device is poisoned."""

    def __init__(
        self,
        channel: Channel,
        backend: Backend,
        limit_pixels: int,
        limits: Limits,
        sampling: Sampling = NO_SAMPLING,
    ) -> None:
        self._channel = channel
        self._backend = backend
        self._call = Call()
        self._probe = (
            DiffusersProbe(backend.pipeline, self._call) if backend.pipeline is not None else None
        )
        # A user's own backend counts as warm: it may have warmed up itself.
        info = backend.info
        self._warm = info.warm_up_seconds > 0 or not info.weights_bytes
        self._stage = Stage()
        self._steps = Steps(channel, self._call.failed)
        self.memory = Memory()
        self._given_up = False
        appraisal = Appraisal(channel, sampling, self._stage.has_work, self._call.failed)
        self._reporter = Reporter(channel, self._stage, self._steps, self._call, limits, appraisal)
        self._likeness = Likeness(channel, sampling, limit_pixels)
        self._intake = Intake(self._stage, self._reporter, self._call, limit_pixels)

    # ── Receiving ────────────────────────────────────────────────────────────────────────────────

    def listen(self) -> None:
        """Handle messages while the reader leads, until the API process is gone."""
        while self._stage.reader_may_listen():
            message = self._channel.receive()
            if message is None:
                self._stage.close()
                return
            self.receive(message, by_reader=True)

    def receive(self, message: Message, *, by_reader: bool = False) -> None:
        """Handle one message."""
        match message.content:
            case schema.Jobs(orders):
                jobs = list(zip(orders, message.payloads, strict=True))
                self._intake.prepare(jobs, by_reader=by_reader)
            case schema.Cancel(job_id):
                job = self._stage.cancel(job_id) or self._intake.withdraw(job_id)
                if job is not None:
                    self._reporter.fail([job], Cancelled())
            case schema.Follow(job_id, preview_every):
                if self._stage.expects(job_id):
                    self._steps.follow(job_id, preview_every)
            case schema.Ping():
                self._channel.send(Message(schema.Pong()))
            case schema.Compare(order):
                self._likeness.offer(order, message.payloads)
            case other:
                name = type(other).__name__
                raise ValueError(f"A worker cannot handle the message {name}. This is a bug.")

    def close(self) -> None:
        """Remove the probe from the pipeline, and close the channel."""
        self._stage.close()
        self._intake.close()
        self._likeness.close()
        self._reporter.close(wait=False)
        if self._probe is not None:
            self._probe.unwatch()
        self._channel.close()

    # ── The model ────────────────────────────────────────────────────────────────────────────────

    def work(self) -> None:
        """Run one batch after another, until closed.

        Between short batches this thread reads the channel itself, because waking another takes as
        long as a batch. During a longer batch the reader thread reads it.
        """
        while True:
            while self._stage.model_leads():
                self._listen_briefly()
            batch = self._stage.take()
            if batch is None:
                return
            if batch.late:
                self._reporter.fail(batch.late, error_from_reason(Timeout.reason, _LATE))
            if batch.jobs:
                self.run(batch)

    def _listen_briefly(self) -> None:
        """Read the messages that have arrived, or wait for the next one.

        This thread polls briefly before it sleeps: waking up takes as long as a small image.
        """
        started = perf_counter()
        messages = list(self._channel.arrived())
        while not messages and perf_counter() - started < _SPIN_SECONDS:
            os.sched_yield()
            messages = list(self._channel.arrived())
        if not messages:
            message = self._channel.receive()
            if message is None:
                self._stage.close()
                return
            messages = [message]
        self._stage.idle(perf_counter() - started)
        for message in messages:
            self.receive(message)

    def run(self, batch: Batch) -> None:
        """Run one batch and send its results. A batch too large for the memory is split."""
        if self._given_up:  # while the first part of a batch ran; the rest runs elsewhere
            return
        jobs = batch.jobs
        on_step = self._begin(jobs)
        graphs = compilations()
        started = perf_counter()
        outputs: list[Output] = []
        failure: SafelightError | None = None
        try:
            outputs = self._outputs(jobs, on_step)
        except Exception as error:  # noqa: BLE001 - every failure must reach the API process
            if is_poisoned(error):
                sys.excepthook(type(error), error, error.__traceback__)
                self._give_up(jobs, "poisoned")
                return
            # The error's traceback holds tensors. It is gone before a batch is split.
            failure = as_failure(error)
        seconds = perf_counter() - started
        if self._probe is None:
            self._call.last = call_of(self._backend, jobs, seconds, failure)
        self._charge(jobs, seconds)
        if failure is not None:
            self._failed(batch, failure, seconds, graphs)
            return
        self.memory.fitted(jobs)
        report = report_of(batch, seconds, complete=self._typical(graphs))
        self._reporter.report(batch, outputs, report)

    def _outputs(self, jobs: list[Prepared], on_step: OnStep) -> list[Output]:
        outputs = list(self._backend.run([job.work for job in jobs], on_step))
        if len(outputs) != len(jobs):
            raise RuntimeError(f"The model made {len(outputs)} outputs for {len(jobs)} jobs.")
        return outputs

    def _failed(self, batch: Batch, failure: SafelightError, seconds: float, graphs: int) -> None:
        """Report a batch that failed; split it if it did not fit into memory."""
        if isinstance(failure, OutOfMemory | HostOutOfMemory):
            self._split(batch, failure, seconds)
            return
        self._typical(graphs)
        if len(batch.jobs) > 1 and not isinstance(failure, Cancelled):
            # Each job alone: the input of one must not fail the others.
            self._reporter.send([], [], report_of(batch, seconds, complete=False, again=True))
            for job in batch.jobs:
                self.run(Batch([job], "alone", []))
            return
        self._reporter.fail_batch(batch, failure, report_of(batch, seconds, complete=False))

    def _typical(self, graphs: int) -> bool:
        """Return whether a batch's time is like later ones; if not, mark its call as a warm-up."""
        typical, self._warm = self._warm and compilations() == graphs, True
        if not typical and self._call.last is not None:
            self._call.last = replace(self._call.last, warm_up=True)
        return typical

    def _begin(self, jobs: list[Prepared]) -> OnStep:
        """Return the callback for the model's steps; announce the start if the batch is long."""

        def announce() -> None:
            self._stage.lead(reader=True)
            self._channel.send(Message(schema.Started([job.id for job in jobs])))

        a, b = jobs[0].cost
        # A job that is retried alone may be the one that ends workers: it is always announced.
        short = 0 < a + b * len(jobs) < _SHORT_SECONDS and not jobs[0].alone
        if not short:
            announce()
        self._call.last = None
        for job in jobs:
            job.timeline.mark("queue")
        slow: tuple[float, Callable[[], None]] | None = (
            (_SHORT_SECONDS, announce) if short else None
        )
        return self._steps.of(jobs, self._stage.cancelled, slow)

    def _charge(self, jobs: list[Prepared], seconds: float) -> None:
        """Add the model's time to the stages of each job, as the pipeline's probe measured it."""
        self._stage.pacing.finished(len(jobs), seconds)
        phases = self._call.last.phases if self._call.last else {}
        rest = "predict" if self._backend.task == "predict" else "denoise"
        for job in jobs:
            job.timeline.split(phases, rest=rest)

    def _split(self, batch: Batch, failure: SafelightError, seconds: float) -> None:
        """Run the halves of a batch that did not fit. A single job that does not fit fails."""
        jobs = batch.jobs
        self.memory.free()
        half = len(jobs) // 2
        if not half:
            if self.memory.leaks(jobs[0]):
                self._give_up(jobs, "memory")
                return
            report = report_of(batch, seconds, complete=False)
            self._reporter.fail(jobs, self.memory.too_large(jobs[0], type(failure)), report)
            return
        self._reporter.send([], [], report_of(batch, seconds, complete=False, fits=half))
        self.run(Batch(jobs[:half], "memory", []))
        self.run(Batch(jobs[half:], "memory", []))

    def _give_up(self, jobs: list[Prepared], reason: Literal["poisoned", "memory"]) -> None:
        """Report that this process is not usable, and end, so that a new one takes its place."""
        self._given_up = True
        self._reporter.close(wait=True)  # earlier outputs have left the device and can be sent
        self._channel.send(Message(schema.Started([job.id for job in jobs])))
        self._channel.send(Message(schema.Poisoned(reason)))
        self._stage.close()
