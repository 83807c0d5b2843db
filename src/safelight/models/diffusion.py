"""Run any diffusers pipeline: its arguments, its defaults, its steps, its images."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from safelight.errors import ModelNotFound
from safelight.libraries import Pipeline
from safelight.models.backend import Latents, MadeImage, ModelInfo, ModelOrder, OnStep, shown_name
from safelight.models.identity import device_name, fingerprint
from safelight.models.precision import bytes_of, precision_of
from safelight.models.prompt_length import PromptLimits

_PACKED = 2  # transformers read latents in patches of two by two
_NAMES = {
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "image_guidance_scale": "image_guidance_scale",
}
# Pipelines whose checkpoints need other defaults than those of their signature.
_OVERRIDES: dict[str, dict[str, float]] = {
    "ZImagePipeline": {"steps": 8, "guidance_scale": 0.0},  # Z-Image-Turbo's model card
    "StableDiffusionInstructPix2PixPipeline": {
        "steps": 20
    },  # the signature's 100 steps do not improve the image
    "StableDiffusionXLInstructPix2PixPipeline": {"steps": 30},
}
_CALLBACKS = ("callback_on_step_end", "callback")
_REQUIRED = ("prompt", "num_inference_steps")


class Diffusion:
    """A loaded pipeline and its properties.

    Raises ModelNotFound if it can neither edit by instruction nor generate from a prompt.
    """

    def __init__(self, pipeline: Pipeline, order: ModelOrder) -> None:
        self.pipeline = pipeline
        self.takes = inspect.signature(type(pipeline).__call__).parameters
        self._order = order
        missing = [name for name in _REQUIRED if name not in self.takes]
        if missing or not any(name in self.takes for name in _CALLBACKS):
            names = " or ".join(missing or _CALLBACKS)
            raise ModelNotFound(
                order.model,
                f"its pipeline is {type(pipeline).__name__}, which takes no {names}, "
                "so it can neither edit by instruction nor generate from a prompt.",
            )
        self._denoiser = denoiser_of(pipeline, order)
        limit = self.takes.get("max_sequence_length")
        self._limits = PromptLimits(pipeline, limit.default if limit else None)

    @property
    def multiple(self) -> int:
        """Return the number of pixels that sides must be a multiple of."""
        packed = _PACKED if self._denoiser is getattr(self.pipeline, "transformer", None) else 1
        return int(getattr(self.pipeline, "vae_scale_factor", 8)) * packed

    @property
    def side(self) -> int:
        """Return the longest side in pixels that the model works best at; 0 if unknown."""
        latents = getattr(self._denoiser.config, "sample_size", None)
        return latents * self.pipeline.vae_scale_factor if isinstance(latents, int) else 0

    def info(self, defaults: Mapping[str, float]) -> ModelInfo:
        """Return the loaded model; `defaults` override the pipeline's own."""
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
            fingerprint=fingerprint(models),
            device_name=device_name(str(self.pipeline.device)),
            torch=str(torch.__version__),
        )

    def run(
        self, arguments: Mapping[str, Any], seeds: Sequence[int], on_step: OnStep
    ) -> list[MadeImage]:
        """Run the pipeline with those of the arguments that it takes; return the images."""
        steps = _Steps(on_step)
        inputs = {
            **arguments,
            # On the CPU, so that a seed gives the same noise on every device and in every batch.
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "pt",
        }
        if _CALLBACKS[0] in self.takes:
            inputs[_CALLBACKS[0]] = steps.on_step_end
        else:
            inputs.update(callback=steps.on_step, callback_steps=1)
        accepted = {name: value for name, value in inputs.items() if name in self.takes}
        images = self.pipeline(**accepted).images
        finite = steps.finite(len(images))
        return [
            _as_image(image, finite=good, truncated=self._limits.exceeded_by(prompt))
            for image, good, prompt in zip(images, finite, arguments["prompt"], strict=True)
        ]

    def _defaults(self) -> dict[str, float]:
        declared = {
            own: self.takes[name].default for own, name in _NAMES.items() if name in self.takes
        }
        side = {"width": self.side, "height": self.side} if self.side else {}
        return {
            **side,
            **{name: value for name, value in declared.items() if isinstance(value, int | float)},
            **_OVERRIDES.get(type(self.pipeline).__name__, {}),
        }


def denoiser_of(pipeline: Pipeline, order: ModelOrder) -> Any:
    """Return the part of a pipeline that denoises. Raises ModelNotFound."""
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if denoiser is None:
        raise ModelNotFound(
            order.model, f"its {type(pipeline).__name__} has neither a unet nor a transformer."
        )
    return denoiser


class _Steps:
    """Adapts both of diffusers' step callbacks, and keeps the last latents."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._latents: Latents = None

    def on_step_end(
        self, _pipeline: Pipeline, step: int, timestep: object, tensors: dict[str, Latents]
    ) -> dict[str, Latents]:
        self.on_step(step, timestep, tensors.get("latents"))
        return tensors

    def on_step(self, step: int, _timestep: object, latents: Latents) -> None:
        self._latents = latents
        self._on_step(step + 1, latents)

    def finite(self, number: int) -> list[bool]:
        """Return for each image whether its last latents were finite; pixels are clamped later."""
        if self._latents is None or len(self._latents) != number:
            return [True] * number
        finite: list[bool] = torch.isfinite(self._latents).flatten(1).all(1).tolist()
        return finite


def _as_image(image: torch.Tensor, *, finite: bool = True, truncated: bool = False) -> MadeImage:
    """Return a tensor (3, height, width) from 0 to 1 as bytes; rounded on its device."""
    finite = finite and bool(torch.isfinite(image).all())
    levels = torch.nan_to_num(image).mul(255).round().clamp(0, 255).to(torch.uint8)
    return MadeImage(levels.permute(1, 2, 0).contiguous().cpu().numpy(), finite, truncated)
