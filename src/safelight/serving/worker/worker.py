"""The worker: three stages that overlap, and a report of each to the parent.

Jobs are decoded as they arrive, the model thread makes one batch after the other, and others check
and encode what it made. Only the model thread touches the model.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

from safelight.errors import Cancelled, OutOfMemory, SafelightError, Timeout
from safelight.models.backend import Backend, Edit, Made, OnStep
from safelight.probes.diffusers import DiffusersProbe
from safelight.probes.guard import Guard
from safelight.probes.torch import compilations
from safelight.quality.entropy import background_entropy
from safelight.quality.validity import Limits
from safelight.reasons import error_from_reason
from safelight.serving.wire.protocol import Channel, Kind, Message
from safelight.serving.worker.appraisal import NO_SAMPLING, Appraisal, Sampling
from safelight.serving.worker.choice import Batch, Prepared, prepared
from safelight.serving.worker.images import as_work
from safelight.serving.worker.memory import Memory, is_poisoned
from safelight.serving.worker.reporter import Call, Reporter
from safelight.serving.worker.results import as_failure
from safelight.serving.worker.stage import Stage
from safelight.serving.worker.steps import Steps

_SMALL_BYTES = 48 * 1024  # handing a smaller image to another thread costs more than decoding it
_THREADS = 2
_SHORT_SECONDS = (
    0.005  # a batch that is done before anybody could make use of knowing that it began
)
_WAKEFUL_SECONDS = 0.002
_LATE = "It could not have been made before its deadline."


class Worker:
    """Makes what arrives on a channel, until that closes or the device is poisoned."""

    def __init__(
        self,
        channel: Channel,
        backend: Backend,
        limit_pixels: int,
        limits: Limits,
        sampling: Sampling = NO_SAMPLING,
    ) -> None:
        self._channel = channel
        self._limit_pixels = limit_pixels
        self._backend = backend
        self._call = Call()
        self._probe = (
            DiffusersProbe(backend.pipeline, self._call) if backend.pipeline is not None else None
        )
        # A backend of somebody's own is taken for warm: it may have seen to that itself.
        info = backend.info
        self._warm = info.warm_up_seconds > 0 or not info.weights_bytes
        self._stage = Stage()
        self._steps = Steps(channel, self._call.failed)
        self._memory = Memory()
        self._number = 0
        self._decoders = ThreadPoolExecutor(_THREADS, "safelight-decode")
        self._entropy = Guard("entropy", self._call.failed)
        appraisal = Appraisal(channel, sampling, self._stage.has_work, self._call.failed)
        self._reporter = Reporter(channel, self._stage, self._steps, self._call, limits, appraisal)

    # ── Hearing ──────────────────────────────────────────────────────────────────────────────────

    def listen(self) -> None:
        """Take messages, whenever it is the reader's turn, until the parent is gone."""
        while self._stage.reader_may_listen():
            message = self._channel.receive()
            if message is None:
                self._stage.close()
                return
            self.hear(message, by_reader=True)

    def hear(self, message: Message, *, by_reader: bool = False) -> None:
        """Take one message."""
        match message.kind:
            case Kind.JOBS:
                self._prepare(message, by_reader=by_reader)
            case Kind.CANCEL:
                gone = self._stage.cancel(message.fields["id"])
                if gone is not None:
                    self._reporter.fail([gone], Cancelled())
            case Kind.FOLLOW:
                if self._stage.knows(message.fields["id"]):
                    self._steps.follow(message.fields["id"], message.fields["preview_every"])
            case _:
                raise ValueError(f"A worker does not know {message.kind}. This is a bug.")

    def close(self) -> None:
        """Give the pipeline back as it was, and close the channel."""
        self._stage.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._reporter.close(wait=False)
        if self._probe is not None:
            self._probe.unwatch()
        self._channel.close()

    # ── Decoding ─────────────────────────────────────────────────────────────────────────────────

    def _prepare(self, message: Message, *, by_reader: bool) -> None:
        small: list[Prepared] = []
        for fields, payload in zip(message.fields["jobs"], message.payloads, strict=True):
            self._number += 1
            job = prepared(fields, self._number, self._stage.clock)
            self._stage.expect(job.id)
            if len(payload) >= _SMALL_BYTES:
                self._stage.prepare()
                self._decoders.submit(self._decode_large, job, fields, payload)
            elif self._decode(job, fields, payload):
                small.append(job)
        if small:
            self._stage.put(small, by_reader=by_reader)

    def _decode_large(self, job: Prepared, fields: dict[str, Any], payload: bytes) -> None:
        with self._stage.preparing():
            if self._decode(job, fields, payload):
                self._stage.put([job])

    def _decode(self, job: Prepared, fields: dict[str, Any], payload: bytes) -> bool:
        job.timeline.mark("queue")
        try:
            if self._stage.cancelled(job.id):
                raise Cancelled  # noqa: TRY301 - one place tells the parent of every failure
            job.work = as_work(fields, payload, self._limit_pixels)
            if isinstance(job.work, Edit):
                with self._entropy:
                    job.entropy = background_entropy(job.work.image)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            self._reporter.fail([job], as_failure(error))
            return False
        finally:
            job.timeline.mark("decode")
        return True

    # ── The model ────────────────────────────────────────────────────────────────────────────────

    def work(self) -> None:
        """Make one batch after the other, until closed.

        Between batches so short that waking another thread would cost as much, this thread listens
        itself; while a longer one is made, the reader does.
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
                self.make(batch)

    def _listen_briefly(self) -> None:
        """Hear what has arrived, or what comes next.

        Right after a batch the next job is probably near: it is looked for awhile before this
        thread sleeps, for to be woken takes as long as a small picture.
        """
        began = perf_counter()
        messages = list(self._channel.arrived())
        while not messages and perf_counter() - began < _WAKEFUL_SECONDS:
            os.sched_yield()
            messages = list(self._channel.arrived())
        if not messages:
            message = self._channel.receive()
            if message is None:
                self._stage.close()
                return
            messages = [message]
        self._stage.idle(perf_counter() - began)
        for message in messages:
            self.hear(message)

    def make(self, batch: Batch) -> None:
        """Make one batch, and send what became of it; one too large for the memory is split."""
        jobs = batch.jobs
        on_step = self._begin(jobs)
        started = perf_counter()
        failure: SafelightError | None = None
        made: list[Made] = []
        compiled = compilations()
        try:
            made = list(self._backend.run([job.work for job in jobs], on_step))
            if len(made) != len(jobs):
                raise RuntimeError(f"{len(jobs)} works gave {len(made)} results")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
            if is_poisoned(error):
                self._give_up(error, jobs)
                return
            failure = as_failure(error)
        seconds = perf_counter() - started
        self._stage.pace.made(len(jobs), seconds)
        self._charge(jobs)
        if failure is not None and failure.reason == OutOfMemory.reason:
            del made
            self._split(batch, seconds)
            return
        if failure is None:
            self._memory.fitted(jobs)
        typical = self._typical(compiled)
        self._reporter.report(batch, made, failure, seconds, typical=typical)

    def _typical(self, compiled: int) -> bool:
        """Tell whether a batch's time is as those after it; if not, its call is a warm-up."""
        typical, self._warm = self._warm and compilations() == compiled, True
        if not typical and self._call.last is not None:
            self._call.last = replace(self._call.last, warm_up=True)
        return typical

    def _begin(self, jobs: list[Prepared]) -> OnStep:
        """Return what the model calls after each step; tell that it begins, if that is of use."""

        def announce() -> None:
            self._stage.lead(reader=True)
            self._channel.send(Message(Kind.STARTED, {"ids": [job.id for job in jobs]}))

        a, b = jobs[0].cost
        # A job that is tried again alone may be what ends workers: it is announced in any case.
        short = 0 < a + b * len(jobs) < _SHORT_SECONDS and not jobs[0].alone
        if not short:
            announce()
        self._call.last = None
        for job in jobs:
            job.timeline.mark("queue")
        # One that takes longer than was predicted is announced as soon as that is known.
        late = (_SHORT_SECONDS, announce) if short else None
        return self._steps.of(jobs, self._stage.cancelled, late)

    def _charge(self, jobs: list[Prepared]) -> None:
        """Charge the model's time to each job's stages, as the pipeline's probe measured it."""
        phases = self._call.last.phases if self._call.last else {}
        rest = "predict" if self._backend.task == "predict" else "denoise"
        for job in jobs:
            job.timeline.split(phases, rest=rest)

    def _split(self, batch: Batch, seconds: float) -> None:
        """Try the halves of a batch that did not fit; one job that does not fit alone fails."""
        jobs = batch.jobs
        self._memory.free()
        half = len(jobs) // 2
        ran = self._reporter.ran(batch, seconds, whole=False)
        if not half:
            self._reporter.fail(jobs, self._memory.too_large(jobs[0]), ran)
            return
        self._reporter.send([], [], {**ran, "fits": half})
        self.make(Batch(jobs[:half], "memory", []))
        self.make(Batch(jobs[half:], "memory", []))

    def _give_up(self, error: Exception, jobs: list[Prepared]) -> None:
        """Tell that the device is lost to this process, and end: its successor will have it."""
        sys.excepthook(type(error), error, error.__traceback__)
        self._reporter.close(wait=True)  # what was made before has left the device, and is sent
        self._channel.send(Message(Kind.STARTED, {"ids": [job.id for job in jobs]}))
        self._channel.send(Message(Kind.POISONED))
        self._stage.close()
