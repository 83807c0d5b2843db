"""Events of workers: a worker handle emits them, the pool and the engine consume them.

`worker` is the index of the worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.wire.schema import BatchReport, Ready, Result
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.vram import Vram


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker has loaded the model."""

    worker: int
    ready: Ready


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker is gone. `entries` are the jobs it had; its last batch began at `started_at`."""

    worker: int
    entries: Sequence[QueueEntry]
    reason: str
    started_at: float


@dataclass(frozen=True, slots=True)
class WorkerGaveUp:
    """The worker failed to load the model `attempts` times in a row."""

    worker: int
    attempts: int


@dataclass(frozen=True, slots=True)
class JobsStarted:
    """The model runs these jobs now."""

    entries: Sequence[QueueEntry]


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """The model is done with a batch."""

    entries: Sequence[QueueEntry]
    report: BatchReport


@dataclass(frozen=True, slots=True)
class JobsFinished:
    """Results of jobs, each with its payload (a PNG, or empty)."""

    results: Sequence[tuple[QueueEntry, Result, bytes]]


@dataclass(frozen=True, slots=True)
class ProbesFailed:
    """Probes in the worker failed; assessments were dropped because requests waited."""

    probes: Sequence[str]
    dropped_assessments: int


@dataclass(frozen=True, slots=True)
class OutputAssessed:
    """The quality of one output; None if it could not be measured."""

    assessment: Assessment | None


@dataclass(frozen=True, slots=True)
class MemoryRead:
    """What the worker's allocator holds on each device."""

    worker: int
    readings: Sequence[Vram]


JobEvent = WorkerReady | WorkerLost | JobsStarted | BatchFinished | JobsFinished
WorkerEvent = JobEvent | WorkerGaveUp | ProbesFailed | OutputAssessed | MemoryRead
JobSink = Callable[[JobEvent], None]
WorkerSink = Callable[[WorkerEvent], None]
