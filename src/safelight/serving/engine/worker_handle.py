"""A place for one worker: starts one, gives it jobs, hears from it, and replaces it when lost.

A worker is lost when it ends, when it makes no progress for too long, and when it says that its
device is of no more use to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import structlog

from safelight.errors import Unusable
from safelight.models.backend import ModelOrder
from safelight.serving.engine.queue_entry import Ticket
from safelight.serving.wire.process import Carrier, Hear, WorkerProcess
from safelight.serving.wire.protocol import Kind, Message
from safelight.settings import Settings

_FIRST_REST_SECONDS = 0.5
_LONGEST_REST_SECONDS = 30.0
_COMPILING = 10
_LONG_LIFE_SECONDS = 30.0
_SIGNS_OF_PROGRESS = frozenset({Kind.STARTED, Kind.STEP, Kind.RESULTS})
log = structlog.get_logger("safelight")


class Listener(Protocol):
    """Who hears of a slot's worker."""

    def loaded(self, slot: "Slot", message: Message) -> None:
        """Hear that the model is loaded."""

    def lost(self, slot: "Slot", tickets: Sequence[Ticket], reason: str) -> None:
        """Hear that the worker is gone, and which jobs it had."""

    def none_left(self) -> bool:
        """Tell whether every worker was tried in vain too often."""

    def vram(self, slot: "Slot", message: Message) -> None:
        """Hear what the worker's allocator holds."""

    def started(self, tickets: Sequence[Ticket]) -> None:
        """Hear that the model has these jobs now."""

    def results(self, slot: "Slot", message: Message) -> None:
        """Hear what came of jobs."""

    def assessed(self, message: Message) -> None:
        """Hear what a closer look at an output found."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot's worker runs, and how many of the processor's threads are its own."""

    index: int
    device: str
    threads: int = 0


class Slot:
    """One worker at a time. Belongs to one event loop."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        listener: Listener,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.place = place
        self._settings = settings
        self._listener = listener
        self._sleep = sleep
        self._carrier: Carrier | None = None
        self._ended: asyncio.Future[None] | None = None
        self._why = "died"
        self._was_ready = self._served = False
        self._heard_at = self._moved_at = 0.0
        self.devices: set[str] = set()
        self.ready = False
        self.given_up = False
        self.outstanding: dict[str, Ticket] = {}
        self.staged = 0
        self.started_at = 0.0
        self._ways: dict[Kind, Callable[[Message], None]] = {
            Kind.READY: self._load,
            Kind.UNUSABLE: self._refuse,
            Kind.STARTED: self._start,
            Kind.STEP: self._step,
            Kind.RESULTS: self._result,
            Kind.ASSESSED: listener.assessed,
            Kind.VRAM: lambda message: listener.vram(self, message),
            Kind.POISONED: lambda _message: self._end("poisoned"),
        }

    @property
    def pid(self) -> int | None:
        """Return the worker's process id, if there is one now."""
        return self._carrier.pid if self._carrier else None

    # ── Giving ───────────────────────────────────────────────────────────────────────────────────

    def send(self, tickets: Sequence[Ticket], message: Message) -> None:
        """Give the worker jobs."""
        assert self._carrier is not None
        if not self.outstanding:
            self._moved_at = _now()
        for ticket in tickets:
            ticket.holder, ticket.started, ticket.made_at = self, False, None
            self.outstanding[ticket.job.id] = ticket
        self.staged += len(tickets)
        self._carrier.send(message)

    def withdraw(self, ticket: Ticket) -> None:
        """Have the worker drop a job, or stop at its next step; it answers all the same."""
        self._tell(Message(Kind.CANCEL, {"id": ticket.job.id}))

    def follow(self, ticket: Ticket) -> None:
        """Have every step of a job told."""
        every = self._settings.preview_every_steps
        self._tell(Message(Kind.FOLLOW, {"id": ticket.job.id, "preview_every": every}))

    def _tell(self, message: Message) -> None:
        if self._carrier is not None:
            self._carrier.send(message)

    # ── Hearing ──────────────────────────────────────────────────────────────────────────────────

    def _hear(self, message: Message | None) -> None:
        if message is None:
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
            return
        self._heard_at = _now()
        if message.kind in _SIGNS_OF_PROGRESS:
            self._moved_at = self._heard_at
        self._ways[message.kind](message)

    def _load(self, message: Message) -> None:
        self.ready = self._was_ready = True
        self.given_up = False
        self._listener.loaded(self, message)

    def _result(self, message: Message) -> None:
        self._served |= any("reason" not in result for result in message.fields["results"])
        self._listener.results(self, message)

    def _start(self, message: Message) -> None:
        tickets = [t for i in message.fields["ids"] if (t := self.outstanding.get(i)) is not None]
        for ticket in tickets:
            if not ticket.started:
                self.staged -= 1
            ticket.started = True
        self.started_at = self._heard_at
        self._listener.started(tickets)

    def _step(self, message: Message) -> None:
        for job_id, preview in zip(message.fields["ids"], message.payloads, strict=True):
            ticket = self.outstanding.get(job_id)
            if ticket is not None:
                progress = ticket.job.progress
                progress.step, progress.preview = message.fields["step"], preview
                progress.tell()

    def release(self, job_id: str) -> Ticket | None:
        """Take a job that was answered from the worker's account."""
        ticket = self.outstanding.pop(job_id, None)
        if ticket is not None and not ticket.started:
            self.staged -= 1
        return ticket

    def _refuse(self, message: Message) -> None:
        """Take it that the model cannot be loaded; before it ever was, that is the end."""
        if self._was_ready or self._ended is None or self._ended.done():
            return
        error = Unusable(message.fields["detail"])
        error.exit_code = message.fields["exit_code"]
        self._ended.set_exception(error)

    # ── Keeping ──────────────────────────────────────────────────────────────────────────────────

    async def keep(self) -> None:
        """Start worker after worker, each once the last is gone, resting longer each time in vain.

        Raises Unusable where the model cannot be loaded.
        """
        strikes = 0
        while True:
            began, self._why, was = _now(), "died", False
            carrier = None
            try:
                carrier = await self._begin()
                await self._watch(carrier)
            finally:
                was = self.ready
                self._lost("load_failed" if not was and self._why == "died" else self._why)
                if carrier is not None:
                    await carrier.stop()
            proven = self._served or _now() - began > _LONG_LIFE_SECONDS
            strikes = 1 if was and proven else strikes + 1
            self.given_up = not was and strikes > self._settings.restart_limit
            if self.given_up and self._listener.none_left():
                raise Unusable(
                    f"The worker ended {strikes} times in a row while it loaded the model."
                )
            await self._rest(
                0.0 if was and strikes <= 1 else _FIRST_REST_SECONDS * 2 ** min(strikes, 9)
            )

    async def _begin(self) -> Carrier:
        self._ended = asyncio.get_running_loop().create_future()
        self._served = False
        self._heard_at = self._moved_at = _now()
        settings = self._settings
        model = ModelOrder(
            settings.model,
            self.place.device,
            settings.precision,
            settings.compile,
            settings.attention_slicing,
            settings.vae_tiling,
            settings.allow_pickle,
            settings.warm_up,
            str(settings.tags or ""),
        )
        order = {
            "model": model.as_dict(),
            "report_seconds": settings.gpu_interval_seconds,
            "limit_pixels": settings.image_limit_pixels,
            "limits": {
                "black_level": settings.black_level,
                "flat_deviation": settings.flat_deviation,
                "noise_correlation": settings.noise_correlation,
            },
            "sampling": {
                "ratio": settings.quality_sample_ratio,
                "thumbnails": settings.samples,
                "clip_model": settings.clip_model,
            },
        }
        self._carrier = await _starter(settings)(order, self._hear, self.place.threads)
        return self._carrier

    async def _watch(self, carrier: Carrier) -> None:
        """Wait for the worker's end; bring it about if it does nothing for too long."""
        assert self._ended is not None
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=self._settings.hang_seconds / 4)
            if not self._ended.done() and self._frozen():
                self._end("hung")
                carrier.kill()
        await self._ended

    def _frozen(self) -> bool:
        limit, now = self._settings.hang_seconds, _now()
        if self._settings.compile:
            limit *= _COMPILING  # no step is told of while one compiles
        if self.outstanding and now - self._moved_at > limit:
            return True
        return now - self._heard_at > limit + 2 * self._settings.gpu_interval_seconds

    def _end(self, why: str) -> None:
        """Take the worker for lost."""
        self._why = why
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _lost(self, reason: str) -> None:
        tickets = list(self.outstanding.values())
        self.outstanding.clear()
        self.staged = 0
        self._carrier, self.ready = None, False
        self._listener.lost(self, tickets, reason)

    async def _rest(self, seconds: float) -> None:
        rest = min(seconds, _LONGEST_REST_SECONDS)
        log.warning(
            "worker replaced",
            **{"safelight.worker": self.place.index, "safelight.rest_seconds": rest},
        )
        await self._sleep(rest)


def _starter(settings: Settings) -> Callable[[dict[str, Any], Hear, int], Awaitable[Carrier]]:
    if settings.isolation == "process":
        return WorkerProcess.start
    # By name: an API process whose workers are processes must never import torch.
    start: Callable[..., Awaitable[Carrier]] = import_module(
        "safelight.serving.worker.inline"
    ).InlineWorker.start
    return start


def _now() -> float:
    return asyncio.get_running_loop().time()
