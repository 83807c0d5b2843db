"""A running pipeline call: its time marks, requested and effective parameters."""

from collections.abc import Mapping
from itertools import pairwise
from time import perf_counter
from typing import Generic

from safelight.libraries import Pipeline, Tensor
from safelight.probes.timers import Mark, Timer
from safelight.probes.torch import compilations
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.telemetry.record import PipelineCall

NO_GUIDANCE = 1.0  # uncond + 1 * (cond - uncond) = cond: guidance has no effect


class CallInProgress(Generic[Mark]):
    """Collects the time marks of one call and turns them into a PipelineCall."""

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, object],
        instruction_type: str,
        timer: Timer[Mark],
        *,
        int8: bool = False,
    ) -> None:
        self._timer = timer
        self._mark = timer.mark
        self._pipeline_name = type(pipeline).__name__
        self._precision = precision_of(pipeline, int8=int8)
        self._instruction_type = instruction_type
        self._steps_asked = _integer(arguments.get("num_inference_steps"))
        self._guidance_asked = _number(arguments.get("guidance_scale"))
        self._image_guidance_asked = _number(arguments.get("image_guidance_scale"))
        self._negative_prompt = bool(arguments.get("negative_prompt"))
        self._makes_images = arguments.get("output_type") != "latent"
        self._guidance: float | None = None
        self._image_guidance: float | None = None
        self._images: tuple[tuple[int, int], ...] = ()
        self._error = NO_ERROR
        self._warm_up = False
        self._compiled = compilations()
        self._host_started = perf_counter()
        self._host_seconds = 0.0
        self._encoded_at: Mark | None = None
        self._loop_at: Mark | None = None
        self._loop_ended_at: Mark | None = None
        self._ended_at: Mark | None = None
        self._steps_at: list[Mark] = []
        self._started_at = timer.mark()

    @property
    def ended(self) -> bool:
        """Return True if the call's end is marked."""
        return self._ended_at is not None

    @property
    def finished(self) -> bool:
        """Return True if the device has finished all work of the call."""
        return self._ended_at is not None and self._timer.passed(self._ended_at)

    def mark_encoded(self) -> None:
        """Mark the end of prompt encoding. Inside the loop it is part of a step."""
        if self._loop_at is None:
            self._encoded_at = self._mark()

    def mark_loop(self, pipeline: Pipeline) -> None:
        """Mark the start of the denoising loop, and read the effective guidance."""
        if self._loop_at is not None:
            return
        self._loop_at = self._mark()
        guides = _guides(pipeline)
        self._guidance = _in_force(pipeline, "guidance_scale", self._guidance_asked, guides=guides)
        self._image_guidance = _in_force(
            pipeline, "image_guidance_scale", self._image_guidance_asked, guides=guides
        )

    def mark_step(self) -> None:
        """Mark the end of a denoising step."""
        self._steps_at.append(self._mark())

    def mark_loop_end(self) -> None:
        """Mark the end of the denoising loop."""
        self._loop_ended_at = self._mark()

    def mark_end(self, output: object, error: BaseException | None) -> None:
        """Mark the end of the call, with its output or its error."""
        # First what cannot fail: after a CUDA error no mark can be made.
        self._host_seconds = perf_counter() - self._host_started
        if error is not None:
            self._error = reason_of_exception(error, default="model_error")
        self._ended_at = self._mark()
        self._warm_up = compilations() != self._compiled
        if error is None and self._makes_images:
            self._images = _sizes(output)

    def result(self, *, finished: bool) -> PipelineCall:
        """Return the call; without phases and steps if the device has not finished."""
        return PipelineCall(
            pipeline=self._pipeline_name,
            instruction_type=self._instruction_type,
            precision=self._precision,
            seconds=self._host_seconds,
            phases=self._phases() if finished else {},
            step_seconds=self._step_seconds() if finished else (),
            steps_asked=self._steps_asked,
            guidance_asked=self._guidance_asked,
            guidance_in_force=self._guidance,
            image_guidance_asked=self._image_guidance_asked,
            image_guidance_in_force=self._image_guidance,
            overridden=self._overridden(),
            negative_prompt=self._negative_prompt,
            images=self._images,
            error=self._error,
            warm_up=self._warm_up,
        )

    def _phases(self) -> dict[str, float]:
        """Return seconds by phase; the phases are adjacent and sum to the call."""
        marks = {
            "encode_prompt": self._encoded_at or self._loop_at or self._ended_at,
            "encode_image": self._loop_at if self._encoded_at is not None else None,
            "denoise": (self._loop_ended_at or self._ended_at)
            if self._loop_at is not None
            else None,
            "decode_latents": self._ended_at if self._loop_ended_at is not None else None,
        }
        phases: dict[str, float] = {}
        last = self._started_at
        for phase, mark in marks.items():
            if mark is not None:
                phases[phase] = max(0.0, self._timer.seconds(last, mark))
                last = mark
        return phases

    def _step_seconds(self) -> tuple[float, ...]:
        if self._loop_at is None:
            return ()
        marks = [self._loop_at, *self._steps_at]
        return tuple(self._timer.seconds(earlier, later) for earlier, later in pairwise(marks))

    def _overridden(self) -> tuple[str, ...]:
        pairs = {
            "guidance_scale": (self._guidance_asked, self._guidance),
            "image_guidance_scale": (self._image_guidance_asked, self._image_guidance),
        }
        return tuple(
            name for name, (requested, effective) in pairs.items() if _differs(requested, effective)
        )


def _differs(requested: float | None, effective: float | None) -> bool:
    # 0 also requests no guidance, so an effective value of 1 is not a difference.
    return (
        requested is not None
        and effective is not None
        and requested != effective
        and requested != 0
    )


def _guides(pipeline: Pipeline) -> bool:
    """Return True if the loop applies classifier-free guidance, or if that is unknown."""
    return bool(getattr(pipeline, "do_classifier_free_guidance", True))


def _in_force(
    pipeline: Pipeline, name: str, requested: float | None, *, guides: bool
) -> float | None:
    if requested is None:
        return None
    return _number(getattr(pipeline, name, requested)) if guides else NO_GUIDANCE


def precision_of(pipeline: Pipeline, *, int8: bool = False) -> str:
    """Return the number format of the denoiser's weights, such as `float16`."""
    denoiser = _denoiser(pipeline)
    return "int8" if int8 else str(getattr(denoiser, "dtype", "other")).removeprefix("torch.")


def is_int8(pipeline: Pipeline) -> bool:
    """Return True if the denoiser's weights are torchao's. Slow: it checks every weight."""
    weights: Pipeline = getattr(_denoiser(pipeline), "parameters", tuple)()
    return any(type(weight).__module__.startswith("torchao") for weight in weights)


def _denoiser(pipeline: Pipeline) -> Pipeline:
    return getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)


def _sizes(output: object) -> tuple[tuple[int, int], ...]:
    """Return (width, height) of each image in the output: PIL images, arrays or tensors."""
    images = getattr(output, "images", None)
    if images is None and isinstance(output, tuple) and output:
        images = output[0]
    return tuple(size for image in (images if images is not None else ()) if (size := _size(image)))


def _size(image: Tensor) -> tuple[int, int] | None:
    if hasattr(image, "size") and isinstance(image.size, tuple):
        return image.size  # PIL
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 3:
        return None
    height, width = shape[:2] if shape[2] <= 4 else shape[1:]  # (H, W, C), or (C, H, W) of torch
    return int(width), int(height)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) else None
