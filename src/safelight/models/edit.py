"""Image editing by instruction, with InstructPix2Pix or any diffusers pipeline that takes both."""

from collections.abc import Mapping, Sequence
from typing import Any

from safelight.models.backend import Edit, ModelOrder, OnStep, Picture, Task
from safelight.models.diffusion import info_of, run, words_of


class EditBackend:
    """A loaded editing pipeline. Not safe to call from two threads at once."""

    task: Task = "edit"

    def __init__(self, pipeline: Any, order: ModelOrder, defaults: Mapping[str, float]) -> None:
        self.pipeline = pipeline
        self.info = info_of(pipeline, order, defaults)
        self._words = words_of(pipeline)

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
        }
        return run(self.pipeline, self._words, arguments, [edit.seed for edit in batch], on_step)
