"""Image editing by instruction, with InstructPix2Pix or any diffusers pipeline that takes both."""

import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from safelight.errors import ModelNotFound
from safelight.models.backend import (
    Edit,
    ModelInfo,
    ModelOrder,
    OnStep,
    Picture,
    Task,
    shown_name,
)
from safelight.models.demo.build import DEMOS, demo_folder

_NEEDED = ("prompt", "image", "num_inference_steps", "callback_on_step_end")


class EditBackend:
    """A loaded editing pipeline. Not safe to call from two threads at once."""

    task: Task = "edit"

    def __init__(self, pipeline: Any, model: str) -> None:
        self.pipeline = pipeline
        self._accepted = frozenset(inspect.signature(type(pipeline).__call__).parameters)
        self.info = ModelInfo(
            model=shown_name(model),
            pipeline=type(pipeline).__name__,
            scheduler=type(pipeline.scheduler).__name__,
            precision=str(pipeline.dtype).removeprefix("torch."),
            device=str(pipeline.device),
        )

    def run(self, batch: Sequence[Edit], on_step: OnStep) -> list[Picture]:
        """Return the edited images; all of the batch agree in size, steps and guidance."""
        first = batch[0]
        negative = [edit.negative_prompt for edit in batch]
        arguments = {
            "prompt": [edit.instruction for edit in batch],
            "image": [edit.image for edit in batch],
            "negative_prompt": negative if any(negative) else None,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
            "image_guidance_scale": first.image_guidance_scale,
            # On the CPU, so that a seed gives the same noise on every device and in every batch.
            "generator": [torch.Generator("cpu").manual_seed(edit.seed) for edit in batch],
            "callback_on_step_end": _reporting(on_step),
            "output_type": "pt",
        }
        known = {name: value for name, value in arguments.items() if name in self._accepted}
        return [_picture(image) for image in self.pipeline(**known).images]


def _picture(image: torch.Tensor) -> Picture:
    """Return a tensor of shape (3, height, width), 0 to 1, as bytes; rounded on its device."""
    finite = bool(torch.isfinite(image).all())
    grey = torch.nan_to_num(image).mul(255).round().clamp(0, 255).to(torch.uint8)
    return Picture(grey.permute(1, 2, 0).contiguous().cpu().numpy(), finite)


def load_edit(order: ModelOrder) -> EditBackend:
    """Load a demo, a folder or a hub id. Raises ModelNotFound, saying what to do."""
    _quieten()
    device = order.device if order.device != "auto" else _best_device()
    pipeline = _load(order, _dtype(order.precision, device))
    missing = [
        name
        for name in _NEEDED
        if name not in inspect.signature(type(pipeline).__call__).parameters
    ]
    if missing:
        raise ModelNotFound(
            order.model,
            f"its pipeline is {type(pipeline).__name__}, which takes no {' or '.join(missing)}, "
            "so it cannot edit by instruction.",
        )
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as wrong:
        raise ModelNotFound(
            order.model, f"the device {device} is not usable: {_first_line(wrong)}"
        ) from wrong
    pipeline.set_progress_bar_config(disable=True)
    return EditBackend(pipeline, order.model)


def _load(order: ModelOrder, dtype: torch.dtype) -> Any:
    source = _demo(order) if order.model in DEMOS else order.model
    here = os.path.exists(source)  # unlike pathlib's, it takes a name too long for none
    if here and not (Path(source) / "model_index.json").is_file():
        raise ModelNotFound(order.model, "the folder has no model_index.json.")
    try:
        return DiffusionPipeline.from_pretrained(source, dtype=dtype, use_safetensors=True)
    except Exception as wrong:  # a broken folder makes diffusers raise whatever comes next
        why = (
            _first_line(wrong)
            if here
            else "it is no folder here, and the hub lacks it or is out of reach."
        )
        raise ModelNotFound(order.model, why) from wrong


def _demo(order: ModelOrder) -> str:
    try:
        return str(demo_folder(order.model, Path(order.cache_folder).expanduser()))
    except OSError as wrong:
        why = f"it cannot be built in {order.cache_folder}: {_first_line(wrong)}"
        raise ModelNotFound(order.model, why) from wrong


def _quieten() -> None:
    """Leave progress bars to terminals; in a log they are noise."""
    if not sys.stderr.isatty():
        for library in (diffusers_logging, transformers_logging):
            library.disable_progress_bar()


def _reporting(on_step: OnStep) -> Any:
    def on_step_end(
        _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        on_step(step + 1, tensors.get("latents"))
        return tensors

    return on_step_end


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _dtype(precision: str, device: str) -> torch.dtype:
    if precision == "auto":
        precision = "float16" if device.startswith("cuda") else "float32"
    dtype: torch.dtype = getattr(torch, precision)
    return dtype


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return text if text.endswith(".") else f"{text}."
