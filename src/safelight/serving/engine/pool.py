"""The workers, one per device: keep them alive, count them, find a free one.

Events about jobs go on to the engine.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import time

import structlog

from safelight.errors import Unusable
from safelight.metrics.catalog import (
    ASSESSMENTS,
    MODEL_INFO,
    MODEL_LOAD_SECONDS,
    MODEL_WARM_UP_SECONDS,
    MODEL_WEIGHTS,
    NO_ADAPTERS,
    PROBE_TIMESTAMP,
    VRAM_PEAK,
    VRAM_RESERVED,
    VRAM_USED,
    WORKER_RESTARTS,
    WORKERS_READY,
)
from safelight.metrics.registry import Meter
from safelight.probes.guard import Guard
from safelight.probes.torch import write_vram
from safelight.serving.engine.events import (
    JobSink,
    MemoryRead,
    OutputAssessed,
    ProbesFailed,
    WorkerEvent,
    WorkerGaveUp,
    WorkerLost,
    WorkerReady,
)
from safelight.serving.engine.launch import Place
from safelight.serving.engine.worker_handle import WorkerHandle
from safelight.serving.job import Served
from safelight.settings import Settings
from safelight.telemetry.assessment import Assessment, Assessor

log = structlog.get_logger("safelight")


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
        self._job_sink: JobSink = lambda _event: None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self.workers = [
            WorkerHandle(place, settings, self.receive, sleep=sleep) for place in _places(settings)
        ]
        self._devices: defaultdict[int, set[str]] = defaultdict(set)
        self._given_up: set[int] = set()
        self._cpu_at_once = _cpu_at_once(settings.devices)
        self.was_ready = False
        self.loaded = asyncio.Event()  # since the last start
        self.served = Served()
        self.vram_ratio = 0.0
        self.vram_peak_bytes = 0
        meter.start_at_zero(WORKER_RESTARTS)
        meter.set(WORKERS_READY, value=0)

    @property
    def ready(self) -> bool:
        """Return whether a worker can serve now."""
        return any(worker.ready and not worker.is_out for worker in self.workers)

    @property
    def is_stopping(self) -> bool:
        """Return whether workers that end now were told to."""
        return self._stopping

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the workers that run now."""
        return [worker.pid for worker in self.workers if worker.pid is not None]

    def ready_count(self) -> int:
        """Return how many workers can serve now."""
        return sum(worker.ready for worker in self.workers)

    def usable(self) -> list[WorkerHandle]:
        """Return the workers that may have jobs now.

        More CPU workers than cores would take the cores from each other and from this process, and
        each would have smaller batches. So some rest, until another is lost.
        """
        ready = [worker for worker in self.workers if worker.ready and not worker.is_out]
        if self._cpu_at_once is None:
            return ready
        on_cpu = [worker for worker in ready if worker.place.device == "cpu"]
        on_cpu.sort(key=lambda worker: not worker.outstanding)
        resting = set(on_cpu[self._cpu_at_once :])
        return [worker for worker in ready if worker not in resting]

    def least_busy(self) -> WorkerHandle | None:
        """Return the usable worker with the fewest jobs; None if there is none."""
        usable = self.usable()
        return min(usable, key=lambda each: (each.staged, len(each.outstanding)), default=None)

    def idle_count(self) -> int:
        """Return how many usable workers have no jobs."""
        return sum(not worker.outstanding for worker in self.usable())

    def start(self, job_sink: JobSink | None = None) -> "asyncio.Task[None]":
        """Start all workers. The task fails with Unusable if none of them can ever serve.

        `job_sink` receives the events about jobs. Workers that were stopped can start again.
        """
        self._stopping = False
        self._given_up.clear()
        if job_sink is not None:
            self._job_sink = job_sink
        self._keeper = asyncio.create_task(self._keep(), name="safelight-pool")
        return self._keeper

    async def stop(self) -> None:
        """End the workers and do not replace them."""
        self._stopping, self.was_ready = True, False
        self.loaded.clear()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError, Unusable):
                await self._keeper
        self._meter.forget(PROBE_TIMESTAMP, "torch")  # it reads nothing until they start again

    async def _keep(self) -> None:
        tasks = [asyncio.create_task(worker.keep()) for worker in self.workers]
        try:
            # Not gather: it would cancel the tasks too, and a second cancel interrupts cleaning up.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            self._stopping = True  # workers that end now are not lost
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ── Events of the workers ────────────────────────────────────────────────────────────────────

    def receive(self, event: WorkerEvent) -> None:
        """Handle an event of a worker. Raises Unusable if the last worker gave up."""
        match event:
            case MemoryRead():
                self._memory_read(event)
            case OutputAssessed():
                self._assessed(event.assessment)
            case ProbesFailed():
                self._probes_failed(event)
            case WorkerGaveUp():
                self._gave_up(event)
            case _:
                if isinstance(event, WorkerReady):
                    self._loaded(event)
                elif isinstance(event, WorkerLost):
                    self._lost(event)
                self._job_sink(event)

    def _loaded(self, event: WorkerReady) -> None:
        info, seconds = event.ready.model, event.ready.load_seconds
        self._devices[event.worker].add(info.device)
        self._given_up.discard(event.worker)
        labels = (info.model, info.pipeline, info.scheduler, info.precision, info.device)
        self._meter.set(MODEL_INFO, *labels, NO_ADAPTERS, value=1)
        self._meter.set(MODEL_LOAD_SECONDS, value=seconds)
        self._meter.set(MODEL_WARM_UP_SECONDS, value=info.warm_up_seconds)
        self._meter.set(MODEL_WEIGHTS, value=info.weights_bytes)
        self._meter.set(WORKERS_READY, value=self.ready_count())
        self.was_ready = True
        self.loaded.set()
        self.served = Served(event.ready.task, info.side, info.multiple, info.defaults)
        fields = {"safelight.model": info.as_dict(), "event.duration": round(seconds * 1e9)}
        log.info("model loaded", **fields)

    def _lost(self, event: WorkerLost) -> None:
        """Remove the worker's memory metrics and count its restart."""
        self._meter.set(WORKERS_READY, value=self.ready_count())
        for device in self._devices.pop(event.worker, ()):
            for metric in (VRAM_USED, VRAM_RESERVED, VRAM_PEAK):
                self._meter.forget(metric, device)
        self.vram_ratio = 0.0
        if not self._stopping:
            self._meter.add(WORKER_RESTARTS, event.reason)
            fields = {"safelight.worker": event.worker, "safelight.reason": event.reason}
            log.warning("worker lost", **fields)

    def _gave_up(self, event: WorkerGaveUp) -> None:
        self._given_up.add(event.worker)
        if len(self._given_up) == len(self.workers):
            raise Unusable(
                f"The worker ended {event.attempts} times in a row while it loaded the model."
            )

    def _probes_failed(self, event: ProbesFailed) -> None:
        for probe in event.probes:
            self._meter.probe_failed(probe)
        if event.dropped_assessments:
            self._meter.add(ASSESSMENTS, "dropped", amount=event.dropped_assessments)

    def _assessed(self, assessment: Assessment | None) -> None:
        if assessment is None:
            self._meter.add(ASSESSMENTS, "failed")
            return
        for assess in self._assessors:
            with self._guard:
                assess(assessment)

    def _memory_read(self, event: MemoryRead) -> None:
        readings = list(event.readings)
        write_vram(self._meter, readings)
        self._devices[event.worker].update(reading.device for reading in readings)
        if readings:
            self.vram_peak_bytes = max(reading.peak_bytes for reading in readings)
            self.vram_ratio = max(reading.used_ratio for reading in readings)
            self._meter.set(PROBE_TIMESTAMP, "torch", value=time())


def _cpu_at_once(devices: str) -> int | None:
    """Return how many workers on the CPU may have jobs at once, if there are more than cores.

    One core is left for the API process.
    """
    cores = _cores()
    return max(1, cores - 1) if devices.split(",").count("cpu") > cores else None


def _cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def _places(settings: Settings) -> list[Place]:
    """Return where the workers run. Several workers on the CPU share its cores."""
    devices = settings.devices.split(",")
    on_cpu = _cpu_at_once(settings.devices) or devices.count("cpu")
    threads = max(1, _cores() // on_cpu) if on_cpu > 1 else 0
    return [
        Place(index, device, threads if device == "cpu" else 0)
        for index, device in enumerate(devices)
    ]
