"""What a worker needs of a model: what it is told to load, and what it can do with it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True, slots=True)
class ModelOrder:
    """Which model to load, and how; plain values, so that it travels to a worker."""

    model: str
    device: str
    precision: str
    cache_folder: str

    def as_dict(self) -> dict[str, Any]:
        """Return the order as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded."""

    model: str
    pipeline: str
    scheduler: str
    precision: str
    device: str

    def as_dict(self) -> dict[str, Any]:
        """Return the information as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit, as a model reads it; the image has the size that the model works at."""

    image: Image.Image
    instruction: str
    negative_prompt: str
    steps: int
    guidance_scale: float
    image_guidance_scale: float
    seed: int


OnStep = Callable[[int], None]


class Backend(Protocol):
    """A loaded model that edits images."""

    info: ModelInfo
    pipeline: Any

    def edit(self, edit: Edit, on_step: OnStep) -> Image.Image:
        """Return the edited image; calls `on_step(n)` after step n, which may raise to stop."""


def shown_name(model: str) -> str:
    """Return how a model is called in metrics: a folder by its last part, never its whole path."""
    return Path(model).name if Path(model).is_dir() else model
