"""The nouns of serving: a Job goes in, an Outcome comes out, a Handler turns one into the other.

A policy takes a Handler and gives one back; failures are raised as SafelightError.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from safelight.telemetry.record import Exchange


class EditParameters(BaseModel):
    """What a caller may ask of an edit; other fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    instruction: str = Field(min_length=1, description="What to change, such as: make him old.")
    negative_prompt: str = Field("", description="What the result should not show.")
    steps: int = Field(20, ge=1, description="Denoising steps.")
    guidance_scale: float = Field(
        7.5,
        ge=0,
        le=30,
        allow_inf_nan=False,
        description="Weight of the instruction; 1 or less switches guidance off.",
    )
    image_guidance_scale: float = Field(
        1.5,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="Weight of the input image; less than 1 switches guidance off.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="Seed of the noise; the answer tells the one that was used.",
    )


@dataclass(frozen=True, slots=True)
class Job:
    """One edit to be made; `deadline` is on the event loop's clock, in seconds."""

    id: str
    image: bytes
    size: tuple[int, int]
    parameters: EditParameters
    seed: int
    deadline: float
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Outcome:
    """The image made, encoded, and its width and height in pixels."""

    image: bytes
    media_type: str
    size: tuple[int, int]


Handler = Callable[[Job], Awaitable[Outcome]]
