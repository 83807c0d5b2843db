"""What all diffusers pipelines have in common here: how they are loaded, asked, and read.

Weights are taken from safetensors only: a pickle could run anything.
"""

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelInfo, ModelOrder, OnStep, Picture, shown_name
from safelight.models.devices import best_device, dtype_of, first_line


def load_pipeline(order: ModelOrder, source: str) -> Any:
    """Return the pipeline of a folder or a hub id, on its device. Raises ModelNotFound."""
    _quieten()
    device = order.device if order.device != "auto" else best_device()
    dtype = dtype_of(order.precision, device)
    try:
        pipeline = DiffusionPipeline.from_pretrained(source, dtype=dtype, use_safetensors=True)
    except Exception as wrong:  # a broken folder makes diffusers raise whatever comes next
        raise ModelNotFound(order.model, first_line(wrong)) from wrong
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as wrong:
        why = f"the device {device} is not usable: {first_line(wrong)}"
        raise ModelNotFound(order.model, why) from wrong
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def accepted(pipeline: Any) -> frozenset[str]:
    """Return the names of the arguments that a pipeline takes."""
    return frozenset(inspect.signature(type(pipeline).__call__).parameters)


def info_of(pipeline: Any, model: str) -> ModelInfo:
    """Return what was loaded."""
    return ModelInfo(
        model=shown_name(model),
        pipeline=type(pipeline).__name__,
        scheduler=type(pipeline.scheduler).__name__,
        precision=str(pipeline.dtype).removeprefix("torch."),
        device=str(pipeline.device),
    )


def run(
    pipeline: Any, arguments: dict[str, Any], seeds: Sequence[int], on_step: OnStep
) -> list[Picture]:
    """Return what a pipeline makes; of the arguments it gets those that it takes."""
    arguments = {
        **arguments,
        # On the CPU, so that a seed gives the same noise on every device and in every batch.
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        "callback_on_step_end": _reporting(on_step),
        "output_type": "pt",
    }
    known = {name: value for name, value in arguments.items() if name in accepted(pipeline)}
    return [_picture(image) for image in pipeline(**known).images]


def _picture(image: torch.Tensor) -> Picture:
    """Return a tensor of shape (3, height, width), 0 to 1, as bytes; rounded on its device."""
    finite = bool(torch.isfinite(image).all())
    grey = torch.nan_to_num(image).mul(255).round().clamp(0, 255).to(torch.uint8)
    return Picture(grey.permute(1, 2, 0).contiguous().cpu().numpy(), finite)


def _reporting(on_step: OnStep) -> Any:
    def on_step_end(
        _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        on_step(step + 1, tensors.get("latents"))
        return tensors

    return on_step_end


def _quieten() -> None:
    """Leave progress bars to terminals; in a log they are noise."""
    if not sys.stderr.isatty():
        for library in (diffusers_logging, transformers_logging):
            library.disable_progress_bar()
