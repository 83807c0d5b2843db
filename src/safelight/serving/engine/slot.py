"""A second model beside the served one: workers of its own, and a meter that is not exposed.

Whatever happens to it ends here: it never raises into the service.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal

import psutil
import structlog

from safelight.errors import NotReady, SafelightError
from safelight.metrics.registry import Meter
from safelight.models.backend import shown_name
from safelight.serving.engine.batching import Batching
from safelight.serving.engine.comparing import Answer
from safelight.serving.engine.events import JobEvent, WorkerLost
from safelight.serving.engine.ledger import Ledger
from safelight.serving.engine.messages import compare_message
from safelight.serving.engine.pool import Pool
from safelight.serving.job import Job, Outcome, Served
from safelight.settings import Settings
from safelight.telemetry.assessment import Assessor

State = Literal["off", "loading", "ready", "failed"]
log = structlog.get_logger("safelight")


def second_settings(settings: Settings) -> Settings:
    """Return the settings of the second model: those of the first, and what differs."""
    changed = {
        "model": settings.shadow,
        "precision": settings.shadow_precision or settings.precision,
        "devices": settings.shadow_devices or settings.devices.split(",")[0],
        "compile": settings.compile or settings.shadow_compile,
    }
    return settings.model_copy(update=changed)


class Slot:
    """The second model. Belongs to one event loop. `first` has the workers of the served model."""

    def __init__(
        self, settings: Settings, ledger: Ledger, first: Pool, assessors: Sequence[Assessor] = ()
    ) -> None:
        self.settings = second_settings(settings)
        self.is_set = bool(settings.shadow)
        self.name = shown_name(settings.shadow) if self.is_set else ""
        self.shares_device = _overlap(settings.devices, settings.shadow_devices)
        self.ledger = ledger
        self._first = first
        self._assessors = assessors
        self._limit = settings.batch_limit
        self._steps = settings.shadow_steps
        self.state: State = "off"
        self.problem = ""
        self.note = ""
        self.pool: Pool | None = None
        self.engine: Batching | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def described(self) -> str:
        """Return the model's name, and how it differs from the first model."""
        own, steps = self.settings, self._steps
        parts = (
            self.name,
            f"{steps} steps" if steps else "",
            own.shadow_precision,
            "compiled" if own.shadow_compile else "",
        )
        return ", ".join(part for part in parts if part)

    @property
    def ready(self) -> bool:
        """Return whether it can serve now."""
        return self.state == "ready" and self.pool is not None and self.pool.ready

    @property
    def waiting(self) -> int:
        """Return how many jobs wait for it."""
        return 0 if self.engine is None else self.engine.waiting

    @property
    def holds_memory(self) -> bool:
        """Return whether the second model is on the device of the first."""
        return self.shares_device and self.pool is not None

    def start(self) -> None:
        """Load the model, unless it is loaded or being loaded."""
        if not self.is_set or self.state in ("loading", "ready"):
            return
        meter = Meter(self.settings.namespace)
        self.pool = Pool(self.settings, meter, assessors=self._assessors)
        self.engine = Batching(self.pool, meter, limit=lambda: self._limit, ledger=self.ledger)
        self.state, self.problem, self.note = "loading", "", ""
        self.pool.start(self._receive).add_done_callback(self._ended)
        log.info("second model is loading", **{"safelight.model.model": self.name})

    def _receive(self, event: JobEvent) -> None:
        """Pass an event on. Jobs that wait for a lost worker fail, so that the first takes them."""
        if self.engine is not None:
            self.engine.receive(event)
            if isinstance(event, WorkerLost):
                self.engine.abandon()

    def _ended(self, keeper: "asyncio.Task[None]") -> None:
        """Note why no worker can ever serve the model."""
        if keeper.cancelled() or self.state == "off":
            return
        error = keeper.exception()
        if error is not None:
            self._fail(str(error))

    def _fail(self, problem: str) -> None:
        self.state, self.problem = "failed", problem
        if self.engine is not None:
            self.engine.abandon()
        log.error(
            "second model is not usable",
            **{"safelight.model.model": self.name, "error.message": problem},
        )

    def check(self) -> None:
        """Notice that the model is loaded, and whether it fits to the first one."""
        if self.state != "loading" or self.pool is None or not self.pool.was_ready:
            return
        problem = mismatch(self._first.served, self.pool.served)
        if problem:
            self._fail(problem)
            self._stopping = asyncio.create_task(self.pool.stop())
            return
        self.state = "ready"
        self.note = size_note(self._first.served, self.pool.served)

    async def stop(self, problem: str = "") -> None:
        """End its workers, so that their memory is free. `problem` says why, if it failed."""
        if problem:
            self._fail(problem)
        elif self.state != "failed":
            self.state = "off"
        pool, engine, self.pool = self.pool, self.engine, None
        if pool is not None:
            self._stopping = asyncio.create_task(pool.stop())
        if self._stopping is not None:  # a caller that is cancelled must not interrupt it
            await asyncio.shield(self._stopping)
        if engine is not None:
            engine.abandon()
        self.engine = None

    # ── Use ──────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, job: Job) -> Outcome:
        """Run a job. Raises NotReady if the model is not loaded, and what the engine raises."""
        if self.engine is None or not self.ready:
            raise NotReady
        return await self.engine(job)

    async def compare(self, job: Job, first: bytes, second: bytes) -> Answer | None:
        """Measure two outputs for a job in a worker; None if that is not possible."""
        workers = [] if self.pool is None else [each for each in self.pool.workers if each.ready]
        if not workers:
            return None
        try:
            message, limit = compare_message(job, first, second), self.settings.hang_seconds
            return await workers[0].compare(message, job.id, limit)
        except (SafelightError, OSError):
            return None

    def memory_bytes(self) -> tuple[float | None, float | None]:
        """Return the memory of a worker of this model and of the first; None if it is unknown."""
        return None if self.pool is None else memory_of(self.pool), memory_of(self._first)


def memory_of(pool: Pool) -> float | None:
    """Return the memory of a pool's largest worker: of its device, else of its process."""
    if pool.vram_peak_bytes:
        return float(pool.vram_peak_bytes)
    try:
        sizes = [psutil.Process(pid).memory_info().rss for pid in pool.pids]
    except psutil.Error:
        return None
    return float(max(sizes)) if sizes else None


def mismatch(first: Served, second: Served) -> str:
    """Return why two models cannot serve the same requests; empty if they can."""
    if first.task != second.task:
        return (
            f"The second model's task is {second.task!r}, and the served model's is "
            f"{first.task!r}. Choose a second model of the same family."
        )
    if first.multiple % second.multiple:
        return (
            f"The second model needs sides that are multiples of {second.multiple} pixels, and the "
            f"served model accepts multiples of {first.multiple}. Requests would not fit."
        )
    return ""


def size_note(first: Served, second: Served) -> str:
    """Return what an operator should know about two models' sizes; empty if they are equal."""
    if first.side == second.side or not (first.side and second.side):
        return ""
    return (
        f"The second model works best at {second.side} pixels, the served one at {first.side}; "
        "both get the sizes of the served one."
    )


def _overlap(devices: str, own: str) -> bool:
    """Return whether the second model runs on a device of the first one."""
    if not own:
        return True
    names = [{_normal(each) for each in text.split(",")} for text in (devices, own)]
    return "auto" in names[0] | names[1] or bool(names[0] & names[1])


def _normal(device: str) -> str:
    return "cuda:0" if device == "cuda" else device
