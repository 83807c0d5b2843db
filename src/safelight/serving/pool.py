"""Keeps a worker alive and gives it one job at a time, in the order they came.

A worker that dies is replaced; the job it had fails with `worker_lost`, and those that wait go on
waiting for the next one until their deadlines.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any

import structlog

from safelight.errors import NotReady, Unusable, WorkerLost
from safelight.metrics.catalog import (
    MODEL_INFO,
    MODEL_LOAD_SECONDS,
    PROBE_TIMESTAMP,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.registry import Meter
from safelight.probes.torch import Vram, write_vram
from safelight.reasons import by_reason
from safelight.serving.job import Job, Outcome
from safelight.serving.process import WorkerProcess
from safelight.serving.protocol import Kind, Message
from safelight.settings import Settings
from safelight.telemetry.record import PipelineCall

_FIRST_REST_SECONDS = 0.5
_LONGEST_REST_SECONDS = 30.0
log = structlog.get_logger("safelight")


@dataclass(slots=True)
class _Running:
    """The job that the worker has, and whoever waits for its answer."""

    job: Job
    answer: asyncio.Future[Message]


class Pool:
    """The worker, whichever process that is at the moment. Belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._meter = meter
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._worker: WorkerProcess | None = None
        self._running: _Running | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._was_ready = False
        self._hung = False
        self.ready = False
        self.waiting = 0
        meter.start_at_zero(WORKER_RESTARTS)
        meter.set(WORKERS_READY, value=0)

    @property
    def pid(self) -> int | None:
        """Return the worker's process id, if there is one now."""
        return self._worker.pid if self._worker else None

    def start(self) -> "asyncio.Task[None]":
        """Start keeping a worker; the task ends with Unusable where none can ever serve."""
        self._keeper = asyncio.create_task(self._keep(), name="safelight-pool")
        return self._keeper

    async def stop(self) -> None:
        """End the worker and stop keeping one."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError, Unusable):
                await self._keeper

    async def run(self, job: Job) -> Outcome:
        """Have the worker make the edit. The handler that all policies are wrapped around.

        Raises NotReady before the first model is loaded, WorkerLost where the worker ended with the
        job, and whatever the worker says went wrong.
        """
        if not self._was_ready:
            raise NotReady
        timeline = job.exchange.timeline
        job.exchange.queued = True
        self.waiting += 1
        try:
            await self._take_turn()
        finally:
            self.waiting -= 1
            timeline.mark("queue")
        answer = await self._ask(job)
        call = answer.fields["call"]
        if call is not None:
            job.exchange.calls.append(_as_call(call, job.exchange.instruction_type))
        if answer.kind is Kind.FAILED:
            raise by_reason(answer.fields["reason"], answer.fields["detail"])
        width, height = answer.fields["size"]
        return Outcome(answer.payload, "image/png", (width, height))

    async def _take_turn(self) -> None:
        """Wait until the worker is ready and has no job; leave holding the turn to give it one."""
        await self._turn.acquire()
        try:
            # Again and again: a worker may end between becoming idle and our waking up.
            while self._worker is None or not self._idle.is_set():
                await self._idle.wait()
            self._idle.clear()
        finally:
            self._turn.release()

    async def _ask(self, job: Job) -> Message:
        assert self._worker is not None
        running = _Running(job, asyncio.get_running_loop().create_future())
        self._running = running
        self._worker.send(_as_message(job))
        try:
            answer = await running.answer
        except (asyncio.CancelledError, WorkerLost):
            # A worker that still has the job stays taken until it has heard, at its next step.
            if self._running is running:
                self._cancel(running)
            job.exchange.timeline.mark("denoise")
            raise
        job.exchange.timeline.share(answer.fields["stages"], rest="transfer")
        return answer

    def _cancel(self, running: _Running) -> None:
        """Tell the worker to stop at its next step; one that never gets there is hung: end it."""
        worker = self._worker
        assert worker is not None
        worker.send(Message(Kind.CANCEL, {"id": running.job.id}))

        def give_up() -> None:
            if self._running is running:
                self._hung = True
                worker.kill()

        asyncio.get_running_loop().call_later(self._settings.hang_seconds, give_up)

    async def _keep(self) -> None:
        """Start worker after worker, each once the last has ended."""
        in_vain = 0
        while True:
            self._worker = worker = await WorkerProcess.start(self._settings)
            try:
                became_ready = await self._serve(worker)
            finally:
                self._lost()
                await worker.stop()
            in_vain = 0 if became_ready else in_vain + 1
            reason = "hung" if self._hung else "died" if became_ready else "load_failed"
            self._hung = False
            self._meter.add(WORKER_RESTARTS, reason)
            if in_vain > self._settings.restart_limit:
                raise Unusable(
                    f"The worker ended {in_vain} times in a row while it loaded the model."
                )
            rest = min(_FIRST_REST_SECONDS * 2**in_vain, _LONGEST_REST_SECONDS) if in_vain else 0.0
            log.warning(
                "worker replaced",
                **{"safelight.reason": reason, "safelight.rest_seconds": rest},
            )
            await self._sleep(rest)

    async def _serve(self, worker: WorkerProcess) -> bool:
        """Take one worker's messages until it is gone; tell whether it ever was ready."""
        while (message := await worker.receive()) is not None:
            match message.kind:
                case Kind.READY:
                    self._begin(message)
                case Kind.DONE | Kind.FAILED:
                    self._finish(message)
                case Kind.VRAM:
                    self._note_vram(message)
                case Kind.UNUSABLE if not self._was_ready:
                    error = Unusable(message.fields["detail"])
                    error.exit_code = message.fields["exit_code"]
                    raise error
                case _:
                    log.error("worker said", **{"safelight.kind": message.kind})
        return self.ready

    def _note_vram(self, message: Message) -> None:
        readings = [Vram(**reading) for reading in message.fields["readings"]]
        write_vram(self._meter, readings)
        if readings:
            self._meter.set(PROBE_TIMESTAMP, "torch", value=time())

    def _begin(self, message: Message) -> None:
        info = message.fields["model"]
        self._meter.set(MODEL_INFO, *(info[label] for label in MODEL_INFO.label_names), value=1)
        self._meter.set(MODEL_LOAD_SECONDS, value=message.fields["load_seconds"])
        self._meter.set(WORKERS_READY, value=1)
        self.ready = self._was_ready = True
        self._idle.set()
        log.info(
            "model loaded",
            **{"safelight.model": info, "safelight.load_seconds": message.fields["load_seconds"]},
        )

    def _finish(self, message: Message) -> None:
        for probe in message.fields["probe_failures"]:
            self._meter.probe_failed(probe)
        running, self._running = self._running, None
        if running is None or running.job.id != message.fields["id"]:
            log.error("worker answered another job than it has; this is a bug")
        elif not running.answer.done():
            running.answer.set_result(message)
        self._idle.set()

    def _lost(self) -> None:
        """Forget a worker that is gone, with the job it had and the memory it reported."""
        running, self._running = self._running, None
        self._worker, self.ready = None, False
        self._idle.clear()
        if running is not None and not running.answer.done():
            running.answer.set_exception(WorkerLost())
        self._meter.set(WORKERS_READY, value=0)
        for metric in (VRAM_USED, VRAM_RESERVED, VRAM_PEAK):
            self._meter.forget(metric)


def _as_message(job: Job) -> Message:
    asked = job.parameters
    edit = {
        "instruction": asked.instruction,
        "negative_prompt": asked.negative_prompt,
        "steps": asked.steps,
        "guidance_scale": asked.guidance_scale,
        "image_guidance_scale": asked.image_guidance_scale,
        "seed": job.seed,
    }
    return Message(Kind.JOB, {"id": job.id, "size": job.size, "edit": edit}, job.image)


def _as_call(fields: dict[str, Any], instruction_type: str) -> PipelineCall:
    """Return the worker's account of the pipeline's call; the type is known only on this side."""
    return PipelineCall(
        **{
            **fields,
            "instruction_type": instruction_type,
            "step_seconds": tuple(fields["step_seconds"]),
            "overridden": tuple(fields["overridden"]),
            "images": tuple((width, height) for width, height in fields["images"]),
        }
    )
