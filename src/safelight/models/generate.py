"""Images from a prompt, with any text-to-image pipeline of diffusers, Z-Image's among them."""

from collections.abc import Mapping, Sequence
from typing import Any

from safelight.models.backend import Generation, ModelOrder, OnStep, Picture, Task
from safelight.models.diffusion import accepted, info_of, run, side_of, words_of

# Of the pipelines whose signature's defaults are not those of the checkpoint they are known for.
_KNOWN = {"ZImagePipeline": {"steps": 8, "guidance_scale": 0.0}}  # Z-Image-Turbo's model card
_NAMES = {"steps": "num_inference_steps", "guidance_scale": "guidance_scale"}


class GenerateBackend:
    """A loaded text-to-image pipeline. Not safe to call from two threads at once."""

    task: Task = "generate"

    def __init__(self, pipeline: Any, order: ModelOrder, defaults: Mapping[str, float]) -> None:
        self.pipeline = pipeline
        self.info = info_of(pipeline, order, {**_own_defaults(pipeline), **defaults})
        self._words = words_of(pipeline)

    def run(self, batch: Sequence[Generation], on_step: OnStep) -> list[Picture]:
        """Return the images; all of the batch agree in size, steps and guidance."""
        first = batch[0]
        width, height = first.size
        negative = [each.negative_prompt for each in batch]
        arguments = {
            "prompt": [each.prompt for each in batch],
            "negative_prompt": negative if any(negative) else None,
            "width": width,
            "height": height,
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
        }
        return run(self.pipeline, self._words, arguments, [each.seed for each in batch], on_step)


def _own_defaults(pipeline: Any) -> dict[str, float]:
    """Return what a pipeline does by itself: its side, and what its call's signature says."""
    takes = accepted(pipeline)
    said = {ours: takes[theirs].default for ours, theirs in _NAMES.items() if theirs in takes}
    side = side_of(pipeline)
    return {
        **({"width": side, "height": side} if side else {}),
        **{name: value for name, value in said.items() if isinstance(value, int | float)},
        **_KNOWN.get(type(pipeline).__name__, {}),
    }
