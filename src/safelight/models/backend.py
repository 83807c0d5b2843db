"""The interface of a model: what to load, its inputs, its outputs, and how to run it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from PIL import Image

from safelight.libraries import Tensor

if TYPE_CHECKING:  # the API process never imports NumPy: 12 MB
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["edit", "generate", "predict"]
Pixels: TypeAlias = "NDArray[np.uint8]"
"""Shape (height, width, 3)."""


@dataclass(frozen=True, slots=True)
class ModelOrder:
    """Which model to load, and how. Plain values, so that it can be sent to a worker."""

    model: str
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    attention_slicing: bool = False
    vae_tiling: bool = False
    allow_pickle: bool = False
    warm_up: bool = True
    tags: str = ""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The loaded model.

    `side` is the longest side in pixels that it works best at, 0 if unknown. Sides must be a
    multiple of `multiple`. `defaults` are the parameters for requests that set none.
    `weights_bytes` is the size of its weights. `warm_up_seconds` is the duration of the first call,
    which served no request. `fingerprint` is a hash of its weights, empty if unknown;
    `device_name` and `torch` tell what runs it.
    """

    model: str
    pipeline: str
    scheduler: str
    precision: str
    device: str
    side: int = 0
    multiple: int = 8
    defaults: Mapping[str, int | float] = field(default_factory=dict)
    weights_bytes: int = 0
    warm_up_seconds: float = 0.0
    fingerprint: str = ""
    device_name: str = ""
    torch: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the information as plain values, for the log."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Edit:
    """The input of one edit. The image is RGB, at the size at which the model works."""

    image: Image.Image
    instruction: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The input of one image from a prompt, at `size` (width, height)."""

    size: tuple[int, int]
    prompt: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Recognition:
    """The input of one recognition: an RGB image, and how many labels to return."""

    image: Image.Image
    top: int


Work = Edit | Generation | Recognition


@dataclass(frozen=True, slots=True)
class MadeImage:
    """One image that the model made.

    `finite`: all numbers of the model were finite before they became bytes. `truncated`: the prompt
    was longer than the text encoder reads.
    """

    pixels: Pixels
    finite: bool = True
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of an image with scores from 0 to 1, the best first."""

    scores: tuple[tuple[str, float], ...]


Output = MadeImage | Labels

Latents = Tensor
"""A torch tensor (channels, height, width) or a batch of them; None if there are none."""
OnStep = Callable[[int, Latents], None]


class Backend(Protocol):
    """A loaded model. `pipeline` is its diffusers pipeline, to be watched; None if it has none."""

    info: ModelInfo
    task: Task
    pipeline: Any

    def run(self, batch: Sequence[Any], on_step: OnStep) -> Sequence[Output]:
        """Return the output of each input, in order. All inputs have the same batch key.

        Calls `on_step(n, latents)` after step n; it may raise, to stop. `latents` may be None.
        """


def shown_name(model: str) -> str:
    """Return the name of a model in metrics: of a folder only the last part of its path."""
    return Path(model).name if Path(model).is_dir() else model
