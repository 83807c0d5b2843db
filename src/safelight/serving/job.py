"""The nouns of serving: a Job goes in, an Outcome comes out, a Handler turns one into the other.

A policy takes a Handler and gives one back; failures are raised as SafelightError.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from safelight.errors import SafelightError
from safelight.telemetry.record import Exchange

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

_STRICT = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _guidance(default: float, most: float, description: str) -> Any:
    return Field(default, ge=0, le=most, allow_inf_nan=False, description=description)


def _seed() -> Any:
    return Field(
        None,
        ge=0,
        lt=2**32,
        description="Seed of the noise; the answer tells the one that was used.",
    )


class EditParameters(BaseModel):
    """What a caller may ask of an edit; other fields are refused."""

    model_config = _STRICT

    instruction: str = Field(min_length=1, description="What to change, such as: make him old.")
    negative_prompt: str = Field("", description="What the result should not show.")
    steps: int = Field(20, ge=1, description="Denoising steps.")
    guidance_scale: float = _guidance(
        7.5, 30, "Weight of the instruction; 1 or less switches guidance off."
    )
    image_guidance_scale: float = _guidance(
        1.5, 10, "Weight of the input image; less than 1 switches guidance off."
    )
    seed: int | None = _seed()


class GenerateParameters(BaseModel):
    """What a caller may ask of a new image; other fields are refused."""

    model_config = _STRICT

    prompt: str = Field(min_length=1, description="What to show.")
    negative_prompt: str = Field("", description="What the result should not show.")
    width: int = Field(512, ge=32, multiple_of=8, description="Width in pixels.")
    height: int = Field(512, ge=32, multiple_of=8, description="Height in pixels.")
    steps: int = Field(8, ge=1, description="Denoising steps.")
    guidance_scale: float = _guidance(
        0.0, 30, "Weight of the prompt; 0 is none, as distilled models want it."
    )
    seed: int | None = _seed()


class PredictParameters(BaseModel):
    """What a caller may ask of a recognition; other fields are refused."""

    model_config = _STRICT

    top: int = Field(5, ge=1, le=1000, description="Labels to return, the best first.")


Parameters = EditParameters | GenerateParameters | PredictParameters


@dataclass(frozen=True, slots=True)
class Served:
    """What the model tells of itself; before one is loaded, `task` is empty.

    `side` is the longest side in pixels that it works best at, 0 where it does not tell; sides must
    be a `multiple`; `defaults` are its parameters for those who ask for none.
    """

    task: str = ""
    side: int = 0
    multiple: int = 8
    defaults: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far a job is, for whoever follows it; `tell` wakes them."""

    state: Literal["queued", "running", "done"] = "queued"
    step: int = 0
    steps: int = 0
    preview: bytes = b""
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def tell(self) -> None:
        """Wake whoever follows."""
        for listener in self.listeners:
            listener()


@dataclass(slots=True)
class Control:
    """Where a job is stopped from outside: by its caller, its deadline, the service's end."""

    stopped: SafelightError | None = None
    on_stop: Callable[[SafelightError], None] | None = None
    on_follow: Callable[[], None] | None = None
    place: Callable[[], int] = lambda: 0

    def stop(self, error: SafelightError) -> None:
        """Have the job fail with `error`, wherever it is; only the first call counts."""
        if self.stopped is None:
            self.stopped = error
            if self.on_stop is not None:
                self.on_stop(error)


# Not frozen, though nobody changes one: a frozen one takes three times as long to make.
@dataclass(slots=True, eq=False)
class Job:
    """One request to the model; `deadline` is on the event loop's clock, in seconds.

    Of a request for several images, `place` counts its jobs. `keeps` is the least share of the
    picture that the edit must keep; 0 looks for none.
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
    place: int = 0
    degraded: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)
    control: Control = field(default_factory=Control)
    expected: tuple[float, float] | None = None
    keeps: float = 0.0

    @property
    def request_id(self) -> str:
        """Return the id of the request that the job is part of."""
        return self.id.removesuffix(f"-{self.place}") if self.place else self.id

    @property
    def task(self) -> Literal["edit", "generate", "predict"]:
        """Return what the model is asked to do."""
        return TASKS[type(self.parameters)]

    @property
    def steps(self) -> int:
        """Return the denoising steps asked for; 0 where there are none."""
        asked = self.parameters
        # Not by getattr: pydantic's way to say that there is none takes longer than a small batch.
        return 0 if isinstance(asked, PredictParameters) else asked.steps

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what jobs of one batch must agree in."""
        asked = self.parameters
        if isinstance(asked, PredictParameters):
            return ("predict",)
        image_guidance = asked.image_guidance_scale if isinstance(asked, EditParameters) else None
        # An empty negative prompt beside a real one is not to every pipeline as if it were none.
        negative = bool(asked.negative_prompt)
        return (self.task, *self.size, asked.steps, asked.guidance_scale, image_guidance, negative)

    @property
    def units(self) -> float:
        """Return the work in pixel steps, by which jobs of unknown cost are compared."""
        return float(max(1, self.steps) * self.size[0] * self.size[1])


TASKS: dict[type[BaseModel], Literal["edit", "generate", "predict"]] = {
    EditParameters: "edit",
    GenerateParameters: "generate",
    PredictParameters: "predict",
}


@dataclass(slots=True)
class Outcome:
    """What was made: an image, encoded, with its width and height; or labels with scores.

    `truncated` tells that the prompt was longer than the model's text encoder reads; `corrupted`,
    that the edit destroyed what it should have kept.
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
