"""What a worker needs of a model: what it is told to load, and what it can do with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from PIL import Image

Task = Literal["edit", "generate", "predict"]


@dataclass(frozen=True, slots=True)
class ModelOrder:
    """Which model to load, and how; plain values, so that it travels to a worker."""

    model: str
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    attention_slicing: bool = False
    vae_tiling: bool = False
    allow_pickle: bool = False
    warm_up: bool = True
    tags: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the order as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded.

    `side` is the longest side in pixels that it works best at, 0 where that is not known; sides
    must be a `multiple`;
    `defaults` are the parameters of those who ask for none; `weights_bytes` is what its weights
    take up; `warm_up_seconds` is how long its first call took, which served nobody.
    """

    model: str
    pipeline: str
    scheduler: str
    precision: str
    device: str
    side: int = 0
    multiple: int = 8
    defaults: Mapping[str, float] = field(default_factory=dict)
    weights_bytes: int = 0
    warm_up_seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the information as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit, as a model reads it; the image is RGB and has the size that the model works at."""

    image: Image.Image
    instruction: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One image to be made from a prompt, at `size` (width, height)."""

    size: tuple[int, int]
    prompt: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Recognition:
    """One image to be named; RGB."""

    image: Image.Image
    top: int


Work = Edit | Generation | Recognition


@dataclass(frozen=True, slots=True)
class Picture:
    """One image made.

    `pixels` is an array of uint8, (height, width, 3); `finite` tells whether all of the model's
    numbers were, before they became bytes; `truncated`, whether the prompt was longer than its
    encoder reads.
    """

    pixels: Any
    finite: bool = True
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Labels:
    """What an image shows: labels with their scores, 0 to 1, the best first."""

    scores: tuple[tuple[str, float], ...]


Made = Picture | Labels

Latents = Any
"""A torch tensor (channels, height, width) or a batch of them; None if there are none."""
OnStep = Callable[[int, Latents], None]


class Backend(Protocol):
    """A loaded model. `pipeline` is a diffusers pipeline to be watched, or None."""

    info: ModelInfo
    task: Task
    pipeline: Any

    def run(self, batch: Sequence[Any], on_step: OnStep) -> Sequence[Made]:
        """Return what is made of each work, in order; all agree in whatever a batch must share.

        Calls `on_step(n, latents)` after step n, which may raise to stop; `latents` may be None.
        """


def shown_name(model: str) -> str:
    """Return how a model is called in metrics: a folder by its last part, never its whole path."""
    return Path(model).name if Path(model).is_dir() else model
