"""Load a diffusers pipeline: precision, device, memory-saving options."""

from diffusers import DiffusionPipeline

from safelight.errors import ModelNotFound
from safelight.libraries import Pipeline
from safelight.models.backend import ModelOrder
from safelight.models.devices import best_device, first_line
from safelight.models.diffusion import denoiser_of
from safelight.models.precision import dtype_of, to_int8
from safelight.models.source import Source, refuse_pickles


def load_pipeline(order: ModelOrder, source: Source) -> Pipeline:
    """Return the pipeline of a folder or hub id, on its device. Raises Unusable."""
    device = order.device if order.device != "auto" else best_device()
    dtype = dtype_of(order.precision, device)
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            source.place, dtype=dtype, use_safetensors=source.safe, **source.shared(dtype)
        )
    except Exception as error:  # diffusers raises many kinds of errors for a broken folder
        refuse_pickles(order, source)
        raise ModelNotFound(order.model, first_line(error)) from error
    if order.precision == "int8":
        to_int8(denoiser_of(pipeline, order))
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = f"the device {device} is not usable: {first_line(error)}"
        raise ModelNotFound(order.model, reason) from error
    save_memory(pipeline, order)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_memory(pipeline: Pipeline, order: ModelOrder) -> None:
    """Apply the options that save memory or time. Raises ModelNotFound if one is unsupported."""
    if order.attention_slicing:
        pipeline.enable_attention_slicing()
    if order.vae_tiling:
        vae: Pipeline = getattr(pipeline, "vae", None)
        if not hasattr(vae, "enable_tiling"):
            raise ModelNotFound(
                order.model,
                f"its {type(vae).__name__} does not support tiling. Unset SAFELIGHT_VAE_TILING.",
            )
        vae.enable_tiling()
    if order.compile:
        denoiser_of(pipeline, order).compile()
