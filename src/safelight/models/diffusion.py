"""What all diffusers pipelines have in common here: how they are asked, and what they answer."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from safelight.errors import ModelNotFound
from safelight.models.backend import ModelInfo, ModelOrder, OnStep, Picture, shown_name
from safelight.models.precision import bytes_of, precision_of
from safelight.models.prompt_length import Words

_PACKED = 2  # transformers read latents in patches of two by two
_NAMES = {
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "image_guidance_scale": "image_guidance_scale",
}
# Of the pipelines whose signature's defaults are not what their checkpoints are served with.
_KNOWN: dict[str, dict[str, float]] = {
    "ZImagePipeline": {"steps": 8, "guidance_scale": 0.0},  # Z-Image-Turbo's model card
    "StableDiffusionInstructPix2PixPipeline": {"steps": 20},  # the signature's 100 add nothing
    "StableDiffusionXLInstructPix2PixPipeline": {"steps": 30},
}
_BACK = ("callback_on_step_end", "callback")
_NEEDED = ("prompt", "num_inference_steps")


class Diffusion:
    """A loaded pipeline, and what was read off it once.

    Raises ModelNotFound where it can neither edit by instruction nor generate from a prompt.
    """

    def __init__(self, pipeline: Any, order: ModelOrder) -> None:
        self.pipeline = pipeline
        self.takes = inspect.signature(type(pipeline).__call__).parameters
        self._order = order
        missing = [name for name in _NEEDED if name not in self.takes]
        if missing or not any(name in self.takes for name in _BACK):
            lacks = " or ".join(missing or _BACK)
            raise ModelNotFound(
                order.model,
                f"its pipeline is {type(pipeline).__name__}, which takes no {lacks}, "
                "so it can neither edit by instruction nor generate from a prompt.",
            )
        self._denoiser = denoiser_of(pipeline, order)
        most = self.takes.get("max_sequence_length")
        self._words = Words(pipeline, most.default if most else None)

    @property
    def multiple(self) -> int:
        """Return what sides must be a multiple of, in pixels."""
        packed = _PACKED if self._denoiser is getattr(self.pipeline, "transformer", None) else 1
        return int(getattr(self.pipeline, "vae_scale_factor", 8)) * packed

    @property
    def side(self) -> int:
        """Return the longest side that it works best at, in pixels; 0 where it is not told."""
        latents = getattr(self._denoiser.config, "sample_size", None)
        return latents * self.pipeline.vae_scale_factor if isinstance(latents, int) else 0

    def info(self, defaults: Mapping[str, float]) -> ModelInfo:
        """Return what was loaded; `defaults` go before the pipeline's own."""
        parts = self.pipeline.components.values()
        models = [part for part in parts if isinstance(part, torch.nn.Module)]
        return ModelInfo(
            model=shown_name(self._order.model),
            pipeline=type(self.pipeline).__name__,
            scheduler=type(self.pipeline.scheduler).__name__,
            precision=precision_of(self._denoiser),
            device=str(self.pipeline.device),
            side=self.side,
            multiple=self.multiple,
            defaults={**self._defaults(), **defaults},
            weights_bytes=sum(map(bytes_of, models)),
        )

    def run(
        self, arguments: Mapping[str, Any], seeds: Sequence[int], on_step: OnStep
    ) -> list[Picture]:
        """Return what the pipeline makes; of the arguments it gets those that it takes."""
        steps = _Steps(on_step)
        given = {
            **arguments,
            # On the CPU, so that a seed gives the same noise on every device and in every batch.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "pt",
        }
        if _BACK[0] in self.takes:
            given[_BACK[0]] = steps.end
        else:
            given.update(callback=steps.ended, callback_steps=1)
        known = {name: value for name, value in given.items() if name in self.takes}
        images = self.pipeline(**known).images
        finite = steps.finite(len(images))
        return [
            _picture(image, finite=good, truncated=self._words.too_many(prompt))
            for image, good, prompt in zip(images, finite, arguments["prompt"], strict=True)
        ]

    def _defaults(self) -> dict[str, float]:
        said = {ours: self.takes[its].default for ours, its in _NAMES.items() if its in self.takes}
        side = {"width": self.side, "height": self.side} if self.side else {}
        return {
            **side,
            **{name: value for name, value in said.items() if isinstance(value, int | float)},
            **_KNOWN.get(type(self.pipeline).__name__, {}),
        }


def denoiser_of(pipeline: Any, order: ModelOrder) -> Any:
    """Return the part of a pipeline that makes the steps. Raises ModelNotFound."""
    found = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if found is None:
        raise ModelNotFound(
            order.model, f"its {type(pipeline).__name__} has neither a unet nor a transformer."
        )
    return found


class _Steps:
    """Tells of each step, in the words of either of diffusers' callbacks, and keeps the latents."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._latents: Any = None

    def end(
        self, _pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        self.ended(step, _timestep, tensors.get("latents"))
        return tensors

    def ended(self, step: int, _timestep: Any, latents: Any) -> None:
        self._latents = latents
        self._on_step(step + 1, latents)

    def finite(self, number: int) -> list[bool]:
        """Tell of each image whether its last latents were finite: images are clamped later."""
        if self._latents is None or len(self._latents) != number:
            return [True] * number
        told: list[bool] = torch.isfinite(self._latents).flatten(1).all(1).tolist()
        return told


def _picture(image: torch.Tensor, *, finite: bool = True, truncated: bool = False) -> Picture:
    """Return a tensor of shape (3, height, width), 0 to 1, as bytes; rounded on its device."""
    finite = finite and bool(torch.isfinite(image).all())
    grey = torch.nan_to_num(image).mul(255).round().clamp(0, 255).to(torch.uint8)
    return Picture(grey.permute(1, 2, 0).contiguous().cpu().numpy(), finite, truncated)
