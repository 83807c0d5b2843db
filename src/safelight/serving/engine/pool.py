"""The workers, one per device: kept alive together, counted, and asked who is free.

What a worker says of jobs goes on to whoever gives the jobs out (`hand_to`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from os import cpu_count
from time import time
from typing import Protocol

import structlog

from safelight.errors import Unusable
from safelight.metrics.catalog import (
    ASSESSMENTS,
    MODEL_INFO,
    MODEL_LOAD_SECONDS,
    MODEL_WARM_UP_SECONDS,
    MODEL_WEIGHTS,
    PROBE_TIMESTAMP,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.torch import Vram, write_vram
from safelight.serving.engine.queue_entry import Ticket
from safelight.serving.engine.worker_handle import Place, Slot
from safelight.serving.job import Served
from safelight.serving.wire.protocol import Message
from safelight.settings import Settings
from safelight.telemetry.assessment import Assessment, Assessor

log = structlog.get_logger("safelight")


class Desk(Protocol):
    """Who gives the jobs out, and hears what becomes of them."""

    def room(self) -> None:
        """Hear that a worker can take more."""

    def started(self, tickets: Sequence[Ticket]) -> None:
        """Hear that the model has these jobs now."""

    def results(self, slot: Slot, message: Message) -> None:
        """Hear what came of jobs."""

    def lost(self, slot: Slot, tickets: Sequence[Ticket]) -> None:
        """Hear which jobs a worker had that is gone."""


class Pool:
    """All workers. Belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        meter: Meter,
        *,
        assessors: Sequence[Assessor] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._meter = meter
        self._assessors = assessors
        self._guard = Guard("assessment", meter.probe_failed)
        self._desk: Desk | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self.slots = [Slot(place, settings, self, sleep=sleep) for place in _places(settings)]
        self.was_ready = False
        self.served = Served()
        self.vram_ratio = 0.0
        meter.start_at_zero(WORKER_RESTARTS)
        meter.set(WORKERS_READY, value=0)

    @property
    def ready(self) -> bool:
        """Tell whether a worker can serve now."""
        return any(slot.ready for slot in self.slots)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the workers that there are now."""
        return [slot.pid for slot in self.slots if slot.pid is not None]

    def hand_to(self, desk: Desk) -> None:
        """Have `desk` hear what becomes of jobs."""
        self._desk = desk

    def freest(self) -> Slot | None:
        """Return the ready worker with the least to do; one at rest goes before all others."""
        ready = [slot for slot in self.slots if slot.ready]
        return min(ready, key=lambda slot: (slot.staged, len(slot.outstanding)), default=None)

    def at_rest(self) -> bool:
        """Tell whether a ready worker has nothing to do."""
        return any(slot.ready and not slot.outstanding for slot in self.slots)

    def start(self) -> "asyncio.Task[None]":
        """Start all workers at once; the task ends with Unusable where one can never serve."""
        self._keeper = asyncio.create_task(self._keep(), name="safelight-pool")
        return self._keeper

    async def stop(self) -> None:
        """End the workers and stop keeping them."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError, Unusable):
                await self._keeper

    async def _keep(self) -> None:
        tasks = [asyncio.create_task(slot.keep()) for slot in self.slots]
        try:
            # Not gather: it would cancel them too, and a second time hurts who is cleaning up.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            self._stopping = True  # those that are ended now are not lost
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ── What the slots tell ──────────────────────────────────────────────────────────────────────

    def ready_now(self) -> int:
        """Return how many workers can serve now."""
        return sum(slot.ready for slot in self.slots)

    def none_left(self) -> bool:
        """Tell whether every worker was tried in vain too often: then the service is of no use."""
        return all(slot.given_up for slot in self.slots)

    def loaded(self, slot: Slot, message: Message) -> None:
        """Hear that a worker has loaded the model."""
        info, seconds = message.fields["model"], message.fields["load_seconds"]
        slot.devices.add(info["device"])
        self._meter.set(MODEL_INFO, *(info[label] for label in MODEL_INFO.label_names), value=1)
        self._meter.set(MODEL_LOAD_SECONDS, value=seconds)
        self._meter.set(MODEL_WARM_UP_SECONDS, value=info["warm_up_seconds"])
        self._meter.set(MODEL_WEIGHTS, value=info["weights_bytes"])
        self._meter.set(WORKERS_READY, value=self.ready_now())
        self.was_ready = True
        self.served = Served(
            message.fields["task"], info["side"], info["multiple"], info["defaults"]
        )
        log.info("model loaded", **{"safelight.model": info, "safelight.load_seconds": seconds})
        if self._desk is not None:
            self._desk.room()

    def started(self, tickets: Sequence[Ticket]) -> None:
        """Hear that a model has these jobs now."""
        if self._desk is not None:
            self._desk.started(tickets)

    def results(self, slot: Slot, message: Message) -> None:
        """Hear what came of jobs."""
        for probe in message.fields["probe_failures"]:
            self._meter.probe_failed(probe)
        if dropped := message.fields["dropped"]:
            self._meter.add(ASSESSMENTS, "dropped", amount=dropped)
        if self._desk is not None:
            self._desk.results(slot, message)

    def assessed(self, message: Message) -> None:
        """Hear what a closer look at an output found, and tell the assessors."""
        if message.fields.get("failed"):
            self._meter.add(ASSESSMENTS, "failed")
            return
        before, after = message.payloads
        found = Assessment(**message.fields, before=before, after=after)
        for assess in self._assessors:
            with self._guard:
                assess(found)

    def vram(self, slot: Slot, message: Message) -> None:
        """Hear what a worker's allocator holds."""
        readings = [Vram(**reading) for reading in message.fields["readings"]]
        write_vram(self._meter, readings)
        slot.devices.update(reading.device for reading in readings)
        if readings:
            self.vram_ratio = max(reading.used_ratio for reading in readings)
            self._meter.set(PROBE_TIMESTAMP, "torch", value=time())

    def lost(self, slot: Slot, tickets: Sequence[Ticket], reason: str) -> None:
        """Hear that a worker is gone: its memory is forgotten, its jobs are told of."""
        self._meter.set(WORKERS_READY, value=self.ready_now())
        for device in slot.devices:
            for metric in (VRAM_USED, VRAM_RESERVED, VRAM_PEAK):
                self._meter.forget(metric, device)
        slot.devices.clear()
        self.vram_ratio = 0.0
        if not self._stopping:
            self._meter.add(WORKER_RESTARTS, reason)
            log.warning(
                "worker lost", **{"safelight.worker": slot.place.index, "safelight.reason": reason}
            )
        if self._desk is not None:
            self._desk.lost(slot, tickets)


def _places(settings: Settings) -> list[Place]:
    """Return where the workers run; several on the processor share its cores."""
    devices = settings.devices.split(",")
    on_cpu = sum(device == "cpu" for device in devices)
    threads = max(1, (cpu_count() or 1) // on_cpu) if on_cpu > 1 else 0
    return [
        Place(index, device, threads if device == "cpu" else 0)
        for index, device in enumerate(devices)
    ]
