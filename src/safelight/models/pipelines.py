"""How a diffusers pipeline is loaded: its numbers, its device, what is spared."""

from typing import Any

from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelOrder
from safelight.models.devices import best_device, first_line
from safelight.models.diffusion import denoiser_of
from safelight.models.precision import dtype_of, to_int8
from safelight.models.source import Source, refuse_pickles


def load_pipeline(order: ModelOrder, source: Source) -> Any:
    """Return the pipeline of a folder or a hub id, on its device. Raises Unusable."""
    device = order.device if order.device != "auto" else best_device()
    dtype = dtype_of(order.precision, device)
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            source.place, dtype=dtype, use_safetensors=source.safe, **source.shared(dtype)
        )
    except Exception as wrong:  # a broken folder makes diffusers raise whatever comes next
        refuse_pickles(order, source)
        raise ModelNotFound(order.model, first_line(wrong)) from wrong
    if order.precision == "int8":
        to_int8(denoiser_of(pipeline, order))
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as wrong:
        why = f"the device {device} is not usable: {first_line(wrong)}"
        raise ModelNotFound(order.model, why) from wrong
    spare(pipeline, order)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def spare(pipeline: Any, order: ModelOrder) -> None:
    """Spare memory or time as the order asks. Raises ModelNotFound where the pipeline cannot."""
    if order.attention_slicing:
        pipeline.enable_attention_slicing()
    if order.vae_tiling:
        vae: Any = getattr(pipeline, "vae", None)
        if not hasattr(vae, "enable_tiling"):
            raise ModelNotFound(
                order.model,
                f"its {type(vae).__name__} cannot work in tiles. Unset SAFELIGHT_VAE_TILING.",
            )
        vae.enable_tiling()
    if order.compile:
        denoiser_of(pipeline, order).compile()
