"""What all diffusers pipelines have in common here: how they are loaded, asked, and read."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelInfo, ModelOrder, OnStep, Picture, shown_name
from safelight.models.devices import best_device, first_line
from safelight.models.precision import bytes_of, dtype_of, precision_of, to_int8
from safelight.models.source import Source, refuse_pickles
from safelight.models.words import Words


def load_pipeline(order: ModelOrder, source: Source) -> Any:
    """Return the pipeline of a folder or a hub id, on its device. Raises ModelNotFound."""
    device = order.device if order.device != "auto" else best_device()
    dtype = dtype_of(order.precision, device)
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            source.place, dtype=dtype, use_safetensors=None if order.allow_pickle else True,
            **source.shared(dtype),
        )  # fmt: skip
    except Exception as wrong:  # a broken folder makes diffusers raise whatever comes next
        refuse_pickles(order, source)
        raise ModelNotFound(order.model, first_line(wrong)) from wrong
    if order.precision == "int8":
        to_int8(denoiser(pipeline))
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as wrong:
        why = f"the device {device} is not usable: {first_line(wrong)}"
        raise ModelNotFound(order.model, why) from wrong
    _spare(pipeline, order)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def denoiser(pipeline: Any) -> Any:
    """Return the part of a pipeline that makes the steps."""
    return getattr(pipeline, "unet", None) or pipeline.transformer


def _spare(pipeline: Any, order: ModelOrder) -> None:
    """Spare memory or time as the order asks. Raises ModelNotFound where the pipeline cannot."""
    if order.attention_slicing:
        pipeline.enable_attention_slicing()
    if order.vae_tiling:
        if not hasattr(pipeline.vae, "enable_tiling"):
            raise ModelNotFound(
                order.model,
                f"its {type(pipeline.vae).__name__} cannot work in tiles. Unset "
                "SAFELIGHT_VAE_TILING.",
            )
        pipeline.vae.enable_tiling()
    if order.compile:
        denoiser(pipeline).compile()


def accepted(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """Return the arguments that a pipeline takes."""
    return inspect.signature(type(pipeline).__call__).parameters


def info_of(pipeline: Any, order: ModelOrder, defaults: Mapping[str, float]) -> ModelInfo:
    """Return what was loaded."""
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return ModelInfo(
        model=shown_name(order.model),
        pipeline=type(pipeline).__name__,
        scheduler=type(pipeline.scheduler).__name__,
        precision=precision_of(denoiser(pipeline)),
        device=str(pipeline.device),
        side=side_of(pipeline),
        defaults=defaults,
        weights_bytes=sum(map(bytes_of, models)),
    )


def words_of(pipeline: Any) -> Words:
    """Return what counts the words of prompts."""
    most = accepted(pipeline).get("max_sequence_length")
    return Words(pipeline, most.default if most and isinstance(most.default, int) else None)


def side_of(pipeline: Any) -> int:
    """Return the longest side that a pipeline works best at, in pixels; 0 where it is not told."""
    latents = getattr(denoiser(pipeline).config, "sample_size", None)
    return latents * pipeline.vae_scale_factor if isinstance(latents, int) else 0


def run(
    pipeline: Any,
    words: Words,
    arguments: dict[str, Any],
    seeds: Sequence[int],
    on_step: OnStep,
) -> list[Picture]:
    """Return what a pipeline makes; of the arguments it gets those that it takes."""
    arguments = {
        **arguments,
        # On the CPU, so that a seed gives the same noise on every device and in every batch.
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        "callback_on_step_end": _reporting(on_step),
        "output_type": "pt",
    }
    takes = accepted(pipeline)
    made = pipeline(**{name: value for name, value in arguments.items() if name in takes}).images
    return [
        _picture(image, truncated=words.too_many(prompt))
        for image, prompt in zip(made, arguments["prompt"], strict=True)
    ]


def _picture(image: torch.Tensor, *, truncated: bool = False) -> Picture:
    """Return a tensor of shape (3, height, width), 0 to 1, as bytes; rounded on its device."""
    finite = bool(torch.isfinite(image).all())
    grey = torch.nan_to_num(image).mul(255).round().clamp(0, 255).to(torch.uint8)
    return Picture(grey.permute(1, 2, 0).contiguous().cpu().numpy(), finite, truncated)


def _reporting(on_step: OnStep) -> Any:
    def on_step_end(
        _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        on_step(step + 1, tensors.get("latents"))
        return tensors

    return on_step_end
