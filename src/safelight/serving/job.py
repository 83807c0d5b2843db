"""Types shared by the serving code: a Handler turns a Job into an Outcome.

A policy takes a Handler and returns a Handler. Failures are raised as SafelightError.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from safelight.errors import SafelightError
from safelight.telemetry.record import Exchange

Key = tuple[object, ...]
_PREDICT: Key = ("predict",)
PROBE = "canary"  # the use of a job that checks one worker's model
Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _guidance(default: float, limit: float, description: str) -> Any:
    return Field(default, ge=0, le=limit, allow_inf_nan=False, description=description)


def _seed() -> Any:
    return Field(
        None,
        ge=0,
        lt=2**32,
        description="Seed of the noise; the response contains the seed that was used.",
    )


class EditParameters(BaseModel):
    """Parameters of an edit; other fields are rejected."""

    model_config = _STRICT

    instruction: str = Field(min_length=1, description="What to change, such as: make him old.")
    negative_prompt: str = Field("", description="What the result must not show.")
    steps: int = Field(20, ge=1, description="Denoising steps.")
    guidance_scale: float = _guidance(
        7.5, 30, "Weight of the instruction; 1 or less switches guidance off."
    )
    image_guidance_scale: float = _guidance(
        1.5, 10, "Weight of the input image; less than 1 switches guidance off."
    )
    seed: int | None = _seed()


class GenerateParameters(BaseModel):
    """Parameters of a new image; other fields are rejected."""

    model_config = _STRICT

    prompt: str = Field(min_length=1, description="What to show.")
    negative_prompt: str = Field("", description="What the result must not show.")
    width: int = Field(512, ge=32, multiple_of=8, description="Width in pixels.")
    height: int = Field(512, ge=32, multiple_of=8, description="Height in pixels.")
    steps: int = Field(8, ge=1, description="Denoising steps.")
    guidance_scale: float = _guidance(
        0.0, 30, "Weight of the prompt; 0 switches guidance off, as distilled models need it."
    )
    seed: int | None = _seed()


class PredictParameters(BaseModel):
    """Parameters of a recognition; other fields are rejected."""

    model_config = _STRICT

    top: int = Field(5, ge=1, le=1000, description="Labels to return, the best first.")


Parameters = EditParameters | GenerateParameters | PredictParameters


@dataclass(frozen=True, slots=True)
class Served:
    """The loaded model; `task` is empty before a model is loaded.

    `side` is the longest side in pixels that the model works best at, 0 if unknown. Sides must be a
    multiple of `multiple`. `defaults` are the parameters for requests that set none.
    """

    task: str = ""
    side: int = 0
    multiple: int = 8
    defaults: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """The progress of a job, for callers who follow it, and its share of the device's time."""

    state: Literal["queued", "running", "done"] = "queued"
    step: int = 0
    steps: int = 0
    preview: bytes = b""
    device_seconds: float = 0.0
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def notify(self) -> None:
        """Call every listener."""
        for listener in self.listeners:
            listener()


class Execution(Protocol):
    """The engine's view of one job in progress."""

    def stop(self, error: SafelightError) -> None:
        """Make the job fail with `error`."""

    def follow(self) -> None:
        """Report every step of the job from now on."""

    def position(self) -> int:
        """Return how many waiting jobs are more urgent than this one."""


@dataclass(slots=True)
class Control:
    """Stops a job from outside: its caller, its deadline, or the end of the service.

    `turn` is the job's place among those of all callers; fairness sets it. A job that has `aged`
    comes before the others of its turn.
    """

    turn: int = 0
    aged: bool = False
    stopped: SafelightError | None = None
    execution: Execution | None = None

    def stop(self, error: SafelightError) -> None:
        """Make the job fail with `error`, in whatever state it is. Only the first call counts."""
        if self.stopped is None:
            self.stopped = error
            if self.execution is not None:
                self.execution.stop(error)

    def follow(self) -> None:
        """Report every step of the job from now on."""
        if self.execution is not None:
            self.execution.follow()

    def position(self) -> int:
        """Return the job's position in the queue; 0 if it does not wait."""
        return self.execution.position() if self.execution is not None else 0


# Not frozen, although no code changes it: a frozen dataclass takes three times as long to create.
@dataclass(slots=True, eq=False)
class Job:
    """One image to make or read. `deadline` is in seconds on the event loop's clock.

    A request for several images has several jobs, numbered by `place`. `min_kept_ratio` is the
    share of the input image that an edit must keep; 0 switches this check off. `expected` is (when
    admission asked, at most so many seconds until it is done). A job with a `group` shares batches
    only with jobs of that group. Fairness sets the number of jobs in progress of its caller (`own`)
    and of callers who have some; the caller `is_modest` with at most half of an equal share. A job
    with a `use` is no request: its device time counts as this value of catalog.USE.
    """

    id: str
    image: bytes
    size: tuple[int, int]
    parameters: Parameters
    seed: int
    deadline: float
    exchange: Exchange
    timeout_seconds: float = 120.0
    priority: Priority = "normal"
    owner: str = ""
    alone: bool = False
    group: str = ""
    own: int = 1
    callers: int = 1
    is_modest: bool = False
    place: int = 0
    degraded: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)
    control: Control = field(default_factory=Control)
    expected: tuple[float, float] | None = None
    min_kept_ratio: float = 0.0
    use: str = ""

    @property
    def request_id(self) -> str:
        """Return the id of the request that the job belongs to."""
        return self.id.removesuffix(f"-{self.place}") if self.place else self.id

    @property
    def rank(self) -> int:
        """Return the place in the order of jobs: by turn, then by priority; the first is 0."""
        first = self.control.turn * len(PRIORITIES)
        return first - 1 if self.control.aged else first + PRIORITIES.index(self.priority)

    @property
    def task(self) -> Literal["edit", "generate", "predict"]:
        """Return the task of the model."""
        return TASKS[type(self.parameters)]

    @property
    def steps(self) -> int:
        """Return the number of denoising steps; 0 if the task has none."""
        parameters = self.parameters
        # Not with getattr: pydantic's missing attribute costs more than a small batch.
        return 0 if isinstance(parameters, PredictParameters) else parameters.steps

    @property
    def key(self) -> Key:
        """Return the batch key: jobs may share a batch only if their keys are equal."""
        parameters = self.parameters
        if isinstance(parameters, PredictParameters):
            return ("predict", self.group) if self.group else _PREDICT
        image_guidance = (
            parameters.image_guidance_scale if isinstance(parameters, EditParameters) else None
        )
        # Some pipelines treat an empty negative prompt beside a real one differently from none.
        negative = bool(parameters.negative_prompt)
        guidance = parameters.guidance_scale
        key = (self.task, *self.size, parameters.steps, guidance, image_guidance, negative)
        return (*key, self.group) if self.group else key

    @property
    def units(self) -> float:
        """Return the work in pixel steps, to compare jobs of unknown cost."""
        return float(max(1, self.steps) * self.size[0] * self.size[1])


TASKS: dict[type[BaseModel], Literal["edit", "generate", "predict"]] = {
    EditParameters: "edit",
    GenerateParameters: "generate",
    PredictParameters: "predict",
}


@dataclass(slots=True)
class Outcome:
    """The result of a job: an encoded image with its size (width, height), or labels with scores.

    `truncated`: the prompt was longer than the text encoder reads. `corrupted`: the edit destroyed
    parts of the image that it had to keep.
    """

    image: bytes = b""
    media_type: str = "image/png"
    size: tuple[int, int] = (0, 0)
    labels: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    degraded: tuple[str, ...] = ()
    truncated: bool = False
    corrupted: bool = False


Handler = Callable[[Job], Awaitable[Outcome]]
