"""Every message between the API process and a worker: one type each, in one place.

Bytes (images, previews, thumbnails) are not part of a type. They travel beside it as the message's
payloads; the docstring says which. Times are seconds, sizes are (width, height) in pixels.
"""

from typing import Literal

from msgspec import Struct

from safelight.guard.pairs import Qualities
from safelight.models.backend import ModelInfo, ModelOrder, Task
from safelight.telemetry.assessment import Assessment
from safelight.telemetry.record import PipelineCall
from safelight.telemetry.timeline import Part
from safelight.telemetry.vram import Vram

StopReason = Literal["queue_empty", "cap", "overlap", "deadline", "alone", "memory"]


# ── From the API process to the worker ───────────────────────────────────────────────────────────


class OutputLimits(Struct, frozen=True):
    """When an image counts as broken; see `quality.validity.Limits`."""

    black_level: int
    flat_deviation: float
    noise_correlation: float


class SamplingPlan(Struct, frozen=True):
    """Which outputs are assessed: a share from 0 to 1, with thumbnails or not, by which CLIP."""

    ratio: float
    thumbnails: bool
    clip_model: str


class Load(Struct, frozen=True, tag="load"):
    """Load this model. The first message to a worker. A worker in a thread has no own process."""

    model: ModelOrder
    report_seconds: float
    limit_pixels: int
    limits: OutputLimits
    sampling: SamplingPlan
    own_process: bool = True


class EditTask(Struct, frozen=True, tag="edit"):
    """Edit the image by an instruction."""

    instruction: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    seed: int


class GenerateTask(Struct, frozen=True, tag="generate"):
    """Generate an image from a prompt."""

    prompt: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    seed: int


class PredictTask(Struct, frozen=True, tag="predict"):
    """Label the image; return the `top` best labels."""

    top: int


class JobOrder(Struct, frozen=True):
    """One job. Jobs with the same `key` may share a batch of at most `cap`.

    `rank` is the priority (0 first). `cost` is (a, b): a batch of n takes a + b·n seconds. A job
    that is `alone` shares no batch. A `probe` checks the model; it is no request, so its output is
    not assessed. An edit that keeps less than `min_kept_ratio` of its image is
    corrupted; 0 switches the check off.
    """

    id: str
    request_id: str
    task: EditTask | GenerateTask | PredictTask
    size: tuple[int, int]
    key: str
    rank: int
    remaining_seconds: float
    cap: int
    cost: tuple[float, float]
    alone: bool
    instruction_type: str
    min_kept_ratio: float
    probe: bool = False


class Jobs(Struct, frozen=True, tag="jobs"):
    """Run these jobs. Payloads: the image of each job as the caller sent it, or empty."""

    jobs: list[JobOrder]


class Cancel(Struct, frozen=True, tag="cancel"):
    """Drop this job: its caller does not wait for it any more."""

    id: str


class Follow(Struct, frozen=True, tag="follow"):
    """Report each step of this job, with a preview every `preview_every` steps (0: no preview)."""

    id: str
    preview_every: int


class Ping(Struct, frozen=True, tag="ping"):
    """Answer at once with a Pong."""


class Compare(Struct, frozen=True, tag="compare"):
    """Measure two outputs for the same job. Payloads: the job's image, and both outputs."""

    job: JobOrder


# ── From the worker to the API process ───────────────────────────────────────────────────────────


class Ready(Struct, frozen=True, tag="ready"):
    """The model is loaded."""

    model: ModelInfo
    task: Task
    load_seconds: float


class Unusable(Struct, frozen=True, tag="unusable"):
    """The model cannot be loaded."""

    detail: str
    exit_code: int


class Started(Struct, frozen=True, tag="started"):
    """The model runs these jobs now."""

    ids: list[str]


class Step(Struct, frozen=True, tag="step"):
    """The running batch has done `step` steps. `ids`: the followed jobs. Payloads: their previews.

    Also sent without ids, as a sign that the model thread makes progress.
    """

    ids: list[str]
    step: int


class _Result(Struct, frozen=True):
    """What every result has: where the time went, as parts in their order, and the pipeline's call.

    `began` is when the worker got the job, on the machine's monotonic clock, which all processes
    share. `entropy_bits` is the entropy of the input image's background.
    """

    id: str
    began: float
    parts: list[Part]
    call: PipelineCall | None
    entropy_bits: float | None


class ImageResult(_Result, frozen=True, tag="image"):
    """An image was made; its payload is a PNG."""

    size: tuple[int, int]
    truncated: bool
    corrupted: bool


class LabelsResult(_Result, frozen=True, tag="labels"):
    """The labels of an image with scores from 0 to 1, the best first; its payload is empty."""

    labels: list[tuple[str, float]]


class FailedResult(_Result, frozen=True, tag="failed"):
    """The job failed; `invalidity` names what was wrong with the image. Its payload is empty."""

    reason: str
    detail: str
    invalidity: str | None = None


Result = ImageResult | LabelsResult | FailedResult


class BatchReport(Struct, frozen=True):
    """What a batch cost.

    `complete` is False if the time says nothing about later batches (failed or warm-up). `fits` is
    the batch size to use after this one did not fit into memory. `again` is True if the jobs run
    again, each alone, because one of them made the batch fail.
    """

    ids: list[str]
    seconds: float
    stop_reason: StopReason
    complete: bool
    fits: int | None = None
    again: bool = False


class Results(Struct, frozen=True, tag="results"):
    """Results of jobs, in any number. Payloads: one for each result."""

    results: list[Result]
    batch: BatchReport | None = None
    probe_failures: list[str] = []
    dropped_assessments: int = 0


class Assessed(Struct, frozen=True, tag="assessed"):
    """The quality of one output, after its response. Payloads: thumbnails before and after."""

    assessment: Assessment


class AssessmentFailed(Struct, frozen=True, tag="assessment_failed"):
    """The quality of one output could not be measured."""


class Compared(Struct, frozen=True, tag="compared"):
    """The qualities of two outputs for a job, and their distance; None if they are unknown.

    Payload: a thumbnail of the second output, empty if samples are not stored.
    """

    id: str
    first: Qualities
    second: Qualities
    distance: float | None


class Poisoned(Struct, frozen=True, tag="poisoned"):
    """This process is not usable any more. The worker ends.

    `poisoned`: it lost the device; `memory`: it holds memory that its jobs need.
    """

    reason: Literal["poisoned", "memory"] = "poisoned"


class Pong(Struct, frozen=True, tag="pong"):
    """The answer to a Ping: the worker reads its messages."""


class MemoryReport(Struct, frozen=True, tag="memory"):
    """What the allocator holds on each device; also the sign that the process is alive."""

    readings: list[Vram]


ToWorker = Load | Jobs | Cancel | Follow | Compare | Ping
FromWorker = (
    Ready
    | Unusable
    | Started
    | Step
    | Results
    | Assessed
    | AssessmentFailed
    | Compared
    | Poisoned
    | MemoryReport
    | Pong
)
Content = ToWorker | FromWorker
