"""A running pipeline call: its time marks, requested and effective parameters."""

from collections.abc import Mapping
from time import perf_counter
from typing import Generic

from safelight.libraries import Pipeline, Tensor
from safelight.probes.guidance import PARAMETERS, asked_of, guidance_of
from safelight.probes.loops import Loop, Loops
from safelight.probes.numbers import given, integer
from safelight.probes.timers import Mark, Timer
from safelight.probes.torch import compilations
from safelight.reasons import NO_ERROR, reason_of_exception
from safelight.telemetry.record import PipelineCall

_MOST_ENCODINGS = 64  # of one call: some pipelines encode in every step


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
        model: str = "",
    ) -> None:
        self._timer = timer
        self._model = model
        self._pipeline_name = type(pipeline).__name__
        self._precision = precision_of(pipeline, int8=int8)
        self._instruction_type = instruction_type
        self._device = str(getattr(pipeline, "_execution_device", None) or "")
        self._arguments = arguments
        self._guidance = {name: asked_of(name, arguments) for name in PARAMETERS}
        self._images: tuple[tuple[int, int], ...] = ()
        self._error = NO_ERROR
        self._warm_up = False
        self._compiled = compilations()
        self._host_started = perf_counter()
        self._host_seconds = 0.0
        self._encoding_at: Mark | None = None
        self._encodings: list[tuple[str, Mark, Mark]] = []
        self._encoded_at: Mark | None = None
        self._ended_at: Mark | None = None
        self.loops = Loops(timer)
        self.scheduler_loop: Loop[Mark] | None = None
        self.bar_has_steps = False
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
        if not self.loops.begun:
            self._encoded_at = self._timer.mark()

    def begin_encoding(self) -> None:
        """Mark the start of one run of a text encoder."""
        self._encoding_at = self._timer.mark()

    def end_encoding(self, encoder: str) -> None:
        """Mark the end of the run."""
        if self._encoding_at is not None and len(self._encodings) < _MOST_ENCODINGS:
            self._encodings.append((encoder, self._encoding_at, self._timer.mark()))
        self._encoding_at = None

    def mark_loop(self, pipeline: Pipeline) -> Loop[Mark]:
        """Mark the start of a denoising loop; at the first, read the guidance in force."""
        first = not self.loops.begun
        loop = self.loops.begin()
        if first:
            self._guidance = {
                name: guidance_of(pipeline, name, self._arguments) for name in PARAMETERS
            }
        return loop

    def mark_scaled(self) -> None:
        """Mark that the scheduler scaled the input of a step: the first step begins."""
        if self.scheduler_loop is None:
            self.scheduler_loop = Loop(self._timer.mark, self._timer.mark())

    def mark_scheduled(self) -> None:
        """Mark that the scheduler ended a step, for pipelines without a progress bar."""
        if self.scheduler_loop is None:
            self.scheduler_loop = Loop(self._timer.mark, None)
        self.scheduler_loop.step()

    def mark_end(self, output: object, error: BaseException | None) -> None:
        """Mark the end of the call, with its output or its error."""
        # First what cannot fail: after a CUDA error no mark can be made.
        self._host_seconds = perf_counter() - self._host_started
        if error is not None:
            self._error = reason_of_exception(error, default="model_error")
        self._ended_at = self._timer.mark()
        self.bar_has_steps = self.loops.has_steps
        if self.scheduler_loop is not None and not self.bar_has_steps:
            self.loops = Loops(self._timer)
            self.loops.adopt(self.scheduler_loop)
        self._warm_up = compilations() != self._compiled
        if error is None and self._arguments.get("output_type") != "latent":
            self._images = _sizes(output)

    def result(self, *, finished: bool) -> PipelineCall:
        """Return the call; without phases and steps if the device has not finished."""
        text, image, true = self._guidance.values()
        if text.asked is None:  # such a pipeline names its text guidance `true_cfg_scale`
            text = true
        return PipelineCall(
            pipeline=self._pipeline_name,
            model=self._model,
            device=self._device,
            instruction_type=self._instruction_type,
            precision=self._precision,
            seconds=self._host_seconds,
            phases=self._phases() if finished else {},
            step_seconds=self.loops.step_seconds() if finished else (),
            encoder_seconds=self._encoder_seconds() if finished else {},
            steps_asked=self._steps_asked(),
            guidance_asked=text.asked,
            guidance_in_force=text.in_force,
            image_guidance_asked=image.asked,
            image_guidance_in_force=image.in_force,
            overridden=tuple(name for name, each in self._guidance.items() if each.overridden),
            negative_prompt=given(self._arguments.get("negative_prompt")),
            images=self._images,
            error=self._error,
            warm_up=self._warm_up,
        )

    def _encoder_seconds(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for encoder, began, ended in self._encodings:
            seconds[encoder] = seconds.get(encoder, 0.0) + self._timer.seconds(began, ended)
        return seconds

    def _steps_asked(self) -> int | None:
        # With a schedule of the caller's own, diffusers ignores the number of steps.
        if any(self._arguments.get(name) is not None for name in ("timesteps", "sigmas")):
            return None
        return integer(self._arguments.get("num_inference_steps"))

    def _phases(self) -> dict[str, float]:
        assert self._ended_at is not None
        if not self.loops.begun and self._error != NO_ERROR:
            reached = self._ended_at if self._encoded_at is None else self._encoded_at
            return {"encode_prompt": self._timer.seconds(self._started_at, reached)}
        return self.loops.phases(self._started_at, self._encoded_at, self._ended_at)


def precision_of(pipeline: Pipeline, *, int8: bool = False) -> str:
    """Return the number format of the denoiser's weights, such as `float16`."""
    denoiser = denoiser_of(pipeline)
    return "int8" if int8 else str(getattr(denoiser, "dtype", "other")).removeprefix("torch.")


def is_int8(pipeline: Pipeline) -> bool:
    """Return True if the denoiser's weights are torchao's. Slow: it checks every weight."""
    weights: Pipeline = getattr(denoiser_of(pipeline), "parameters", tuple)()
    return any(type(weight).__module__.startswith("torchao") for weight in weights)


def denoiser_of(pipeline: Pipeline) -> Pipeline:
    """Return the module that denoises, or None."""
    # Not `or`: a compiled module passes `bool` on to a module without a length.
    parts = (getattr(pipeline, name, None) for name in ("unet", "transformer"))
    return next((part for part in parts if part is not None), None)


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
